"""Answers that cost the store much, kept on Redis for as long as they are true, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mainspring.redis_backend.answer_cache import AnswerCache
    from mainspring.store.engine.database import Connection, Database

    Version = Callable[[Connection, str], str]
    """Reads the version of what an answer is made of in an environment."""


class KeptAnswers:
    """Answers questions from the cache where it has them as of now, else from the store.

    Args:
        database: The store.
        environment: Whose answers.
        cache: Where they are kept; None: nowhere.
    """

    def __init__(self, database: Database, environment: str, cache: AnswerCache | None) -> None:
        self._database = database
        self._environment = environment
        self._cache = cache

    async def of(
        self, question: Sequence[Any], version: Version, read: Callable[[Connection], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the answer to a question.

        Args:
            question: All that the answer depends on but for the store, as JSON.
            version: Reads what the store says of the version; before the answer, so that this is never older.
            read: Reads the answer.
        """
        if self._cache is None:
            return await self._database.read(read)
        of_now = await self._database.read(lambda connection: version(connection, self._environment))
        kept = await self._cache.get(question, of_now)
        if kept is not None:
            return kept
        answer = await self._database.read(read)
        await self._cache.put(question, of_now, answer)
        return answer

    async def close(self) -> None:
        """Disconnect the cache."""
        if self._cache is not None:
            await self._cache.close()
