"""Topics: the parts of an installation that somebody may watch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

_OF_ONE_RUN: Final = "run:"


class Topic(StrEnum):
    """What may change.

    Attributes:
        RUNS: Executions: asked for, begun, getting on, ended.
        SCHEDULES: When jobs fire, and what became of due instants.
        NODES: Who is in the cluster.
        QUEUES: How much waits.
        ALERTS: Breaches: opened, seen again, resolved.
        STATS: Figures over what has ended.
    """

    RUNS = "runs"
    SCHEDULES = "schedules"
    NODES = "nodes"
    QUEUES = "queues"
    ALERTS = "alerts"
    STATS = "stats"


def of_run(execution_id: UUID) -> str:
    """Return the topic of one execution: its facts and its log lines.

    Example:
        >>> from uuid import UUID
        >>> of_run(UUID("01890000-0000-7000-8000-000000000001"))
        'run:01890000-0000-7000-8000-000000000001'
    """
    return f"{_OF_ONE_RUN}{execution_id}"


def is_of_run(topic: str) -> bool:
    """Whether a topic is that of one execution."""
    return topic.startswith(_OF_ONE_RUN)
