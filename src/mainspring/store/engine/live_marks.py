"""How far an installation is, told by a few numbers: whoever sees others than before knows which topics have changed.

One small statement serves a node with any number of people who watch. Each number is the end of an index or counts
what is few (running executions, open alerts, undelivered notifications, nodes); the queue is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.topics import Topic
from mainspring.store.tables import SCHEMA, alerts, audit_entries, executions_live, fences, nodes, notifications, ticks

if TYPE_CHECKING:
    from collections.abc import Mapping

_environment = sa.bindparam("environment", type_=sa.Text())
_live = executions_live.c
_RUNNING = (_live.environment == _environment, _live.stage == sa.literal_column("3"))
_OPEN = (alerts.c.environment == _environment, alerts.c.resolved_at.is_(None))
_UNTOLD = (notifications.c.environment == _environment, notifications.c.status == sa.literal_column("'pending'"))
_PRESENT = (nodes.c.environment == _environment, nodes.c.stopped_at.is_(None), nodes.c.dead_at.is_(None))


def _count(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).where(*conditions).scalar_subquery()


def _newest(column: sa.Column[Any], *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return sa.select(column).where(*conditions).order_by(column.desc()).limit(1).scalar_subquery()


# Each attempt that begins takes a fence: the only trace of a run that began and ended between two looks.
_BEGUN: Mapping[str, sa.ColumnElement[int]] = {
    "postgresql": sa.literal_column(
        f"pg_sequence_last_value(cast('{SCHEMA}.fence_values' as regclass))", sa.BigInteger()
    ),
    "sqlite": sa.select(fences.c.value).scalar_subquery(),
}
_MARKS = sa.select(
    # Of any environment: a hint too many costs less than a condition that this index does not serve.
    _newest(_live.id).label("asked_for"),
    _count(*_RUNNING).label("running"),
    sa.select(sa.func.max(_live.updated_at)).where(*_RUNNING).scalar_subquery().label("running_moved"),
    _newest(ticks.c.recorded_at).label("tick"),
    _newest(nodes.c.id).label("node"),
    _count(*_PRESENT).label("nodes"),
    _count(*_OPEN).label("alerts"),
    sa.select(sa.func.max(alerts.c.last_seen_at)).where(*_OPEN).scalar_subquery().label("alert_seen"),
    _newest(notifications.c.created_at, notifications.c.environment == _environment).label("notification"),
    _count(*_UNTOLD).label("untold"),
    _newest(audit_entries.c.at, audit_entries.c.environment == _environment).label("command"),
)
_MARKS_OF = {name: _MARKS.add_columns(begun.label("begun")) for name, begun in _BEGUN.items()}
_MEANING: Mapping[Topic, tuple[str, ...]] = {
    Topic.RUNS: ("asked_for", "begun", "running", "running_moved", "command"),
    Topic.SCHEDULES: ("tick", "node", "command"),
    Topic.NODES: ("node", "nodes"),
    Topic.QUEUES: ("asked_for", "begun", "running", "running_moved", "command"),
    Topic.ALERTS: ("alerts", "alert_seen", "notification", "untold", "command"),
    Topic.STATS: ("begun", "running", "running_moved"),
}
"""Which numbers tell that a topic has changed; a command of anybody may be about anything that it names."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where an installation was at one look.

    Attributes:
        values: The numbers by their names.
    """

    values: Mapping[str, object]

    def changed_since(self, earlier: Marks) -> frozenset[Topic]:
        """Return the topics that have changed since an earlier look."""
        different = {name for name, value in self.values.items() if value != earlier.values[name]}
        return frozenset(topic for topic, names in _MEANING.items() if not different.isdisjoint(names))


def marks(connection: sa.Connection, environment: str) -> Marks:
    """Look once, by one statement."""
    statement = _MARKS_OF[connection.dialect.name]
    return Marks(dict(connection.execute(statement, {"environment": environment}).mappings().one()))
