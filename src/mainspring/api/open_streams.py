"""How many streams one principal may hold open: each costs a connection for as long as it lasts."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.api.rate_limit import TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.domain.access import Actor

MOST_OPEN: Final = 50
"""Of one user, service or key, on one node. A page needs one for each job that it shows."""
_RETRY_AFTER: Final = timedelta(seconds=10)


class TooManyStreamsError(TooManyRequestsError):
    """Somebody holds as many streams open as are served."""

    code = "TOO_MANY_STREAMS"


class OpenStreams:
    """The streams that are open on this node.

    Args:
        most: How many one principal may hold.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._open: Counter[tuple[str, str | None, str]] = Counter()

    def __len__(self) -> int:
        """Return how many are open."""
        return self._open.total()

    @contextmanager
    def one_more(self, actor: Actor) -> Generator[None]:
        """Count one more stream of an actor for as long as the block lasts.

        Raises:
            TooManyStreamsError: It has as many as are served.
        """
        principal = (actor.kind.value, actor.organization_id, actor.subject)
        if self._open[principal] >= self._most:
            raise TooManyStreamsError(
                f"you hold {self._most} streams open on this node, and no more are served: close one, or ask "
                "`/v1/jobs/{id}/status` as often as its `Retry-After` says",
                _RETRY_AFTER,
            )
        self._open[principal] += 1
        try:
            yield
        finally:
            self._open[principal] -= 1
            if not self._open[principal]:
                del self._open[principal]
