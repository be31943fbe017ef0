"""The turns of one open connection: what changed, or that it still stands, for as long as its holder may listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mainspring.live.hub import Listener
    from mainspring.world import World

CHECK_SECONDS: Final = 3.0
"""Between two questions whether its holder may still listen. What a node knows of revocations is at most 5 s old:
together less than the ten seconds within which a right that was taken away has to end."""
HEARTBEAT_SECONDS: Final = 15.0
"""Between two messages: proxies close a connection that is quiet for longer."""
SLOWEST_READER_SECONDS: Final = 10.0
"""Who has not taken a message after this time is dropped; when it comes back, it is told to read everything anew."""


async def turns(
    listener: Listener,
    *,
    may_go_on: Callable[[], Awaitable[None]],
    is_ending: Callable[[], bool],
    world: World,
) -> AsyncGenerator[frozenset[str]]:
    """Return what changed, turn by turn: the first turn holds every topic, an empty one says that the line stands.

    Args:
        listener: Who listens.
        may_go_on: Asked every 3 s; it raises when the holder of the connection may not listen any longer.
        is_ending: Whether the node is stopping, which ends the turns.
        world: The clock.

    Example:
        >>> async for changed in turns(listener, may_go_on=check, is_ending=lambda: state.draining, world=world):
        ...     await send({"topics": sorted(changed)})  # doctest: +SKIP
    """
    spoke_at = checked_at = world.monotonic()
    while not is_ending():
        changed = await listener.news(longest=CHECK_SECONDS)
        if listener.has_left:
            return
        now = world.monotonic()
        if now - checked_at >= CHECK_SECONDS:
            checked_at = now
            await may_go_on()
        if changed or now - spoke_at >= HEARTBEAT_SECONDS:
            spoke_at = now
            yield changed
