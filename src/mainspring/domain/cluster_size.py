"""How many nodes the work of an environment needs: what an autoscaler asks for (ADR 43)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

USED_SHARE: Final = 0.8
"""How much of its slots a node should have in use: the rest takes what comes before the next node has started."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Demand:
    """What there is to do, and what doing it costs.

    Attributes:
        waiting: How many executions could start now if there were room.
        running: How many run.
        nodes: How many nodes claim.
        busy: To how many full nodes the work of the last seconds comes.
        ends_per_second: How many attempts have ended in a second, over all nodes.
    """

    waiting: int
    running: int
    nodes: int
    busy: float
    ends_per_second: float


def wanted_nodes(demand: Demand, target_wait: timedelta) -> int:
    """Return how many nodes keep up with the work and begin what waits within the target.

    By Little's law the nodes in use are the work that arrives times what it costs, so what runs now needs `busy` of
    them. An execution costs `busy / ends_per_second` of a node's seconds, and what waits is to be worked off within the
    target beside it. That is never more than a slot for each that waits, which is the bound where attempts take longer
    than the target, and what is reckoned with where none has ended yet.

    Args:
        demand: The work.
        target_wait: How long an execution may wait for room, above 0.

    Returns:
        0 where nothing runs or waits, else at least 1.

    Example:
        >>> from datetime import timedelta
        >>> demand = Demand(waiting=1_200, running=40, nodes=2, busy=2.0, ends_per_second=20.0)
        >>> wanted_nodes(demand, timedelta(seconds=30))
        8
    """
    if not demand.waiting and not demand.running:
        return 0
    used = demand.busy + min(_known_costs(demand, target_wait.total_seconds()), default=0.0)
    return max(1, math.ceil(used / USED_SHARE - _ROUNDING))


def _known_costs(demand: Demand, seconds: float) -> Iterator[float]:
    """Yield how many full nodes what waits comes to; nothing where none has run yet: one node will tell."""
    if demand.ends_per_second > 0:
        yield demand.waiting * demand.busy / demand.ends_per_second / seconds
    if demand.running:
        yield demand.waiting * demand.busy / demand.running


@dataclass(frozen=True, slots=True)
class Load:
    """How many executions of one queue and organization run and are ready to."""

    queue: str
    organization: str | None
    ready: int
    running: int


def startable(
    loads: Sequence[Load], queue_limits: Mapping[str, int], organization_limits: Mapping[str, int], usual_limit: int
) -> int:
    """Return how many of what is ready more nodes could start: what a limit holds back waits with any number of them.

    Args:
        loads: What is ready and what runs.
        queue_limits: How many of a queue may run, 0 where it is paused; a queue without a limit is not in it.
        organization_limits: How many of an organization may run, where it has a number of its own.
        usual_limit: The same for the others.

    Example:
        >>> startable([Load("mail", "acme", ready=100, running=3)], {}, {}, usual_limit=5)
        2
    """
    of_queue, of_organization = Counter[str](), Counter[str]()
    for load in loads:
        of_queue[load.queue] += load.running
        of_organization[load.organization or ""] += load.running
    found = 0
    for load in loads:
        room = load.ready
        if load.queue in queue_limits:
            room = min(room, queue_limits[load.queue] - of_queue[load.queue])
        if load.organization is not None:
            limit = organization_limits.get(load.organization, usual_limit)
            room = min(room, limit - of_organization[load.organization])
        if room > 0:
            of_queue[load.queue] += room
            of_organization[load.organization or ""] += room
            found += room
    return found
