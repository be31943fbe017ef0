"""Failures of a span by job, error and code version: since when an error is there, and what deployments did to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.runs.index_ends import first_id
from mainspring.store.tables import executions, nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.store.analytics.rollup_rows import Span

MOST_GROUPED: Final = 50_000
"""The newest failures of a span are grouped, at most so many."""
_ended = executions.c


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version of the application, and when the first node of it started."""

    code_version: str
    at: datetime


@dataclass(slots=True)
class FailureKind:
    """The failures of one job with one error.

    Attributes:
        job_name: The job.
        fingerprint: What they have in common; None: their error has none.
        error_class: Whether trying again can help.
        message: What the last of them said.
        count: How many there are in the span.
        first_seen: When the first failure with this error ended, in the span or before.
        last_seen: When the last one of the span did.
        last_id: The last one.
        by_version: How many there are by the version of the application that ran them; the empty text: it had none.
    """

    job_name: str
    fingerprint: str | None
    error_class: str | None
    message: str
    first_seen: datetime
    last_seen: datetime
    last_id: UUID
    count: int = 0
    by_version: dict[str, int] = field(default_factory=dict[str, int])
    ends: list[datetime] = field(default_factory=list["datetime"])

    def before_and_after(self, deployment: Deployment) -> tuple[int, int]:
        """Return how many of them ended before a deployment, and how many since."""
        before = sum(end < deployment.at for end in self.ends)
        return before, len(self.ends) - before


def failures(
    connection: sa.Connection, environment: str, span: Span, names: Collection[str] | None, *, most: int
) -> list[FailureKind]:
    """Return the kinds of failures within a span, the most frequent first.

    Args:
        connection: Where to read.
        environment: The environment.
        span: From the first instant to before the last one, by when they were asked for.
        names: Of these jobs; None: of all.
        most: How many kinds at most.
    """
    kinds: dict[tuple[str, str | None], FailureKind] = {}
    for row in connection.execute(_newest(environment, span, names)):
        kind = kinds.setdefault((row.job_name, row.error_fingerprint), _kind(row))
        kind.count += 1
        kind.ends.append(row.completed_at)
        kind.first_seen = min(kind.first_seen, row.completed_at)
        kind.last_seen = max(kind.last_seen, row.completed_at)
        version = row.code_version or ""
        kind.by_version[version] = kind.by_version.get(version, 0) + 1
    shown = sorted(kinds.values(), key=lambda kind: (-kind.count, kind.job_name))[:most]
    for kind in shown:
        if kind.fingerprint is not None:
            found = connection.execute(_FIRST_SEEN, {"environment": environment, "fingerprint": kind.fingerprint})
            kind.first_seen = min(kind.first_seen, *found.scalars())
    return shown


def deployments(connection: sa.Connection, environment: str) -> Sequence[Deployment]:
    """Return the versions of the application that nodes have run, the oldest first."""
    started = sa.func.min(nodes.c.started_at).label("at")
    found = (
        sa.select(nodes.c.code_version, started)
        .where(nodes.c.environment == environment, nodes.c.code_version.is_not(None))
        .group_by(nodes.c.code_version)
        .order_by(started)
    )
    return [Deployment(row.code_version, row.at) for row in connection.execute(found)]


def _newest(environment: str, span: Span, names: Collection[str] | None) -> sa.Executable:
    failed = (
        sa.select(
            _ended.id,
            _ended.job_name,
            _ended.error_fingerprint,
            _ended.error_class,
            _ended.error_message,
            _ended.completed_at,
            _ended.node_id,
        )
        .where(
            _ended.environment == environment,
            _ended.status == Status.FAILED.value,
            _ended.id >= first_id(span[0]),
            _ended.created_at >= span[0],
            _ended.created_at < span[1],
        )
        .order_by(_ended.id.desc())
        .limit(MOST_GROUPED)
    )
    if names is not None:
        failed = failed.where(_ended.job_name.in_(sorted(names)))
    newest = failed.subquery("newest")
    return (
        sa.select(newest, nodes.c.code_version)
        .outerjoin_from(newest, nodes, nodes.c.id == newest.c.node_id)
        .order_by(newest.c.id.desc())
    )


_FIRST_SEEN = (
    sa.select(_ended.completed_at)
    .where(_ended.environment == sa.bindparam("environment"), _ended.error_fingerprint == sa.bindparam("fingerprint"))
    .order_by(_ended.id)
    .limit(1)
)


def _kind(row: Any) -> FailureKind:  # noqa: ANN401 - a row of either driver
    return FailureKind(
        job_name=row.job_name,
        fingerprint=row.error_fingerprint,
        error_class=row.error_class,
        message=row.error_message or "",
        first_seen=row.completed_at,
        last_seen=row.completed_at,
        last_id=row.id,
    )
