"""How often somebody may ask: a bucket for each principal, for each organization, and for each address of strangers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.errors import MainspringError
from mainspring.security.logins import peer_of

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.world import World

_MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a bucket holds, and how fast it fills.

    Attributes:
        burst: Requests that may come at once, after a pause.
        per_second: Requests that may go on coming.
    """

    burst: int
    per_second: float


PRINCIPAL: Final = Allowance(burst=1_000, per_second=200)
"""Of one user, service or key. Somebody who follows a job asks every 2 to 10 seconds: one token follows 400 young jobs,
or 2,000 old ones, and a thousand are created without a pause."""
ORGANIZATION: Final = Allowance(burst=2_000, per_second=400)
"""Of all members of an organization together."""
STRANGER: Final = Allowance(burst=100, per_second=5)
"""Of one address, for requests without a credential that holds. They do not count against whoever has one and comes
from the same address, as behind a proxy or on a shared line."""


class TooManyRequestsError(MainspringError):
    """Somebody asks more often than is taken.

    Args:
        message: What is too much, and what to do.
        retry_after: After which the next one is taken.
    """

    code = "RATE_LIMITED"

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TokenBuckets:
    """Buckets of one size, one for each key.

    A bucket is kept as the one instant at which it will be full again (GCRA, ITU-T I.371 annex A); a full one needs no
    memory at all.

    Args:
        allowance: What each holds.
        world: The monotonic clock.

    Example:
        >>> from mainspring.world import RealWorld
        >>> buckets = TokenBuckets(Allowance(burst=1, per_second=0.1), RealWorld())
        >>> buckets.take("ada") is None, buckets.take("ada") > timedelta(seconds=9)
        (True, True)
    """

    def __init__(self, allowance: Allowance, world: World) -> None:
        self._interval = 1 / allowance.per_second
        self._tolerance = (allowance.burst - 1) * self._interval
        self._world = world
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._full_at)

    def take(self, key: str) -> timedelta | None:
        """Take one from a bucket; return None, or after what time there will be one to take."""
        now = self._world.monotonic()
        full_at = max(now, self._full_at.get(key, now))
        wait = full_at - now - self._tolerance
        if wait > 0:
            return timedelta(seconds=wait)
        if key not in self._full_at and len(self._full_at) >= _MOST_REMEMBERED:
            self._forget(now)
        self._full_at[key] = full_at + self._interval
        return None

    def _forget(self, now: float) -> None:
        """Make room: drop the full buckets, and if there are none, all of them, for memory must not grow."""
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= _MOST_REMEMBERED:
            self._full_at.clear()


class RateLimits:
    """What one node takes from each.

    Every node counts for itself, in memory: the count must cost less than what it saves, and a limit that is too high
    by the number of nodes still keeps one organization from starving the others. Wrong sign-ins, where each one counts,
    are counted in the store by all nodes together.

    Args:
        world: The monotonic clock.
        principal: What one principal may ask.
        organization: What an organization may ask.
        stranger: What one address may ask without a credential that holds.
    """

    def __init__(
        self,
        world: World,
        *,
        principal: Allowance = PRINCIPAL,
        organization: Allowance = ORGANIZATION,
        stranger: Allowance = STRANGER,
    ) -> None:
        self._principals = TokenBuckets(principal, world)
        self._organizations = TokenBuckets(organization, world)
        self._strangers = TokenBuckets(stranger, world)

    def admit(self, actor: Actor) -> None:
        """Count a request of somebody who is known.

        Raises:
            TooManyRequestsError: It is one too many.
        """
        organization = actor.organization_id
        principal = f"{actor.kind}\n{organization or ''}\n{actor.subject}"
        if wait := self._principals.take(principal):
            raise _too_many_of("yours", wait)
        if organization is not None and (wait := self._organizations.take(organization)):
            raise _too_many_of("your organization", wait)

    def admit_stranger(self, address: str | None) -> None:
        """Count a request of somebody who is not known.

        Raises:
            TooManyRequestsError: It is one too many.
        """
        if wait := self._strangers.take(peer_of(address)):
            raise _too_many_of("your address without a credential that holds", wait)


def _too_many_of(who: str, retry_after: timedelta) -> TooManyRequestsError:
    return TooManyRequestsError(
        f"too many requests of {who}: wait as long as `Retry-After` says, then send this one again", retry_after
    )
