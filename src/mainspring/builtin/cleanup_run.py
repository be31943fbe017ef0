"""One run of `cleanup`: counts, then removes page by page, and remembers how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.access import Actor, ActorKind, Scope
from mainspring.reports.storage import ExportNotFoundError, is_file_name
from mainspring.security.audit import Audit, Target
from mainspring.security.secret_key import Purpose, secret_key_in_force
from mainspring.store.upkeep import cleanup
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mainspring.jobs.context import JobContext
    from mainspring.reports.storage import ExportStorage
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.upkeep.cleanup import Ended
    from mainspring.world import World

MOST_DAYS: Final = 3_650
_DONE: Final = 95
_OF_A_KEY: Final = "key:"


class CleanupRequest(BaseModel):
    """What a cleanup is asked to be: the payload `{target, olderThanDays, dryRun?, user?}`, checked."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    target: Literal["executions", "logs", "exports"]
    older_than_days: int = Field(ge=0, le=MOST_DAYS)
    dry_run: bool = False
    user: str | None = Field(default=None, min_length=1, max_length=200)


@dataclass(slots=True)
class Sweep:
    """How far a cleanup has come.

    Attributes:
        before: What ended before this instant is old.
        matched: How much there was when it began.
        deleted: How much of it has been removed.
        after: The last execution that was dealt with.
    """

    before: datetime
    matched: int
    deleted: int = 0
    after: UUID | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the form that is kept as the checkpoint."""
        return {
            "before": self.before.isoformat(),
            "matched": self.matched,
            "deleted": self.deleted,
            "after": None if self.after is None else str(self.after),
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """Return what `as_json` gave."""
        after = None if kept["after"] is None else UUID(kept["after"])
        return cls(datetime.fromisoformat(kept["before"]), kept["matched"], kept["deleted"], after)


class CleanupRun:
    """Counts and removes for one attempt.

    Args:
        ctx: The attempt.
        request: What is to be removed.
        database: The store.
        storage: Where the files of exports lie.
        settings: The environment, and the key of the audit.
        world: Ids, and a thread for the disk.
    """

    def __init__(
        self,
        ctx: JobContext[dict[str, Any]],
        request: CleanupRequest,
        database: Database,
        storage: ExportStorage,
        *,
        settings: Settings,
        world: World,
    ) -> None:
        self._ctx = ctx
        self._request = request
        self._database = database
        self._storage = storage
        self._settings = settings
        self._world = world
        self._scope = Scope(settings.environment, ctx.organization_id, request.user)
        self._thread = world.thread_pool(1, name="cleanup")

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False)

    async def begin(self) -> Sweep:
        """Return where the last attempt was; at the first one, count what is old and write down who removes it."""
        if self._ctx.last_checkpoint is not None:
            sweep = Sweep.from_json(self._ctx.last_checkpoint)
            # What was removed after the checkpoint was made is gone all the same.
            sweep.deleted = max(sweep.deleted, sweep.matched - await self._count(sweep.before))
            return sweep
        age = timedelta(days=self._request.older_than_days)
        before = await self._database.read(lambda connection: cleanup.horizon(connection, age))
        sweep = Sweep(before, await self._count(before))
        self._ctx.log(f"{sweep.matched} {self._request.target} are from before {before.isoformat()}")
        if not self._request.dry_run:
            await self._record("cleanup.begin", sweep)
            await self._ctx.checkpoint(sweep.as_json())
        return sweep

    async def remove(self, sweep: Sweep, *, progress_from: int) -> None:
        """Remove all that is old, page by page; progress goes from `progress_from` to 95."""
        while page := await self._page(sweep.before, sweep.after):
            deleted = await self._remove(page, sweep.before)
            sweep.deleted += deleted
            sweep.after = page[-1].id
            self._ctx.items(processed=deleted, succeeded=deleted)
            share = min(1.0, sweep.deleted / sweep.matched) if sweep.matched else 1.0
            self._ctx.progress(progress_from + share * (_DONE - progress_from))
            await self._ctx.checkpoint(sweep.as_json())
        await self._record("cleanup.end", sweep)

    async def _count(self, before: datetime) -> int:
        match self._request.target:
            case "executions":
                return await self._database.read(partial(cleanup.count, scope=self._scope, before=before))
            case "logs":
                return await self._database.read(partial(cleanup.count_lines, scope=self._scope, before=before))
            case "exports":
                return await self._count_files(before)

    async def _count_files(self, before: datetime) -> int:
        found, after = 0, None
        while page := await self._page(before, after):
            found += await self._with_files(page, self._exists)
            after = page[-1].id
        return found

    async def _page(self, before: datetime, after: UUID | None) -> list[Ended]:
        exports_alone = self._request.target == "exports"
        return await self._database.read(
            lambda connection: cleanup.page(connection, self._scope, before, after=after, exports_alone=exports_alone)
        )

    async def _remove(self, page: Sequence[Ended], before: datetime) -> int:
        match self._request.target:
            case "exports":
                return await self._with_files(page, self._remove_file)
            case "logs":
                return await self._remove_lines(page, before)
            case "executions":
                # Files first: once the execution is gone, nobody knows any more whose they are.
                await self._with_files(page, self._remove_file)
                await self._remove_lines(page, before)
                return await self._database.tx(lambda connection: cleanup.delete(connection, self._scope, page))

    async def _remove_lines(self, page: Sequence[Ended], before: datetime) -> int:
        ids = [item.id for item in page]
        removed = 0
        while lines := await self._database.tx(
            lambda connection: cleanup.delete_lines(connection, self._scope, before, ids)
        ):
            removed += lines
        return removed

    async def _with_files(self, page: Sequence[Ended], act: Callable[[str], bool]) -> int:
        """Do something with the files of a page, and return for how many it was done."""
        names = [name for item in page if (name := _file_of(item)) is not None]
        return await run_in_thread(self._thread, lambda: sum(map(act, names))) if names else 0

    def _exists(self, name: str) -> bool:
        try:
            self._storage.find(name).close()
        except ExportNotFoundError:
            return False
        return True

    def _remove_file(self, name: str) -> bool:
        existed = self._exists(name)
        self._storage.remove(name)
        return existed

    async def _record(self, action: str, sweep: Sweep) -> None:
        """Write down for whom this removes things; what the application itself asks for is not audited."""
        ctx, request = self._ctx, self._request
        if ctx.user_id is None:
            return
        kind = ActorKind.KEY if ctx.user_id.startswith(_OF_A_KEY) else ActorKind.USER
        actor = Actor(ctx.user_id, kind, self._scope.environment, ctx.organization_id)
        facts = {"target": request.target, "user": request.user, **sweep.as_json()}
        key = secret_key_in_force(self._settings, self._world).derive(Purpose.AUDIT)
        audit = Audit(self._database, self._world, key)

        def record(connection: Connection) -> None:
            audit.record(connection, actor, action, Target("execution", str(ctx.execution_id)), after=facts)

        await self._database.tx(record)


def _file_of(item: Ended) -> str | None:
    """Return the name of the file that an export has made."""
    export = item.export
    url = cast("dict[str, object]", export).get("downloadUrl") if isinstance(export, dict) else None
    name = url.rpartition("/")[2] if isinstance(url, str) else ""
    return name if is_file_name(name) and str(item.id) in name else None
