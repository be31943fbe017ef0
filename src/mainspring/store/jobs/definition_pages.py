"""Pages of definitions for the doors of the platform: jobs that have a schedule or a service, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs.definitions import WITH_SCHEDULES, StoredDefinition, stored_definition
from mainspring.store.tables import definitions, schedules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.store.scheduling.stored_schedule import StoredSchedule


@dataclass(frozen=True, slots=True)
class WantedJobs:
    """Which jobs a page holds; None means any.

    Attributes:
        group: Those of this group.
        job_type: Those with this label.
        service: Those of this service.
        search: Those whose name or display name holds this text, in either case.
        retired: Whether those that code no longer declares are among them; orphaned ones always are.
        overridden_before: Those whose schedule an admin last changed before this instant, and which it still holds for.
    """

    group: str | None = None
    job_type: str | None = None
    service: str | None = None
    search: str | None = None
    retired: bool = False
    overridden_before: datetime | None = None


def page(
    connection: sa.Connection, environment: str, wanted: WantedJobs, *, skip: int, size: int
) -> tuple[list[StoredDefinition], int]:
    """Return one page of jobs with a schedule or a service, by name, and how many there are in all.

    Args:
        connection: Where to read.
        environment: The environment.
        wanted: Which of its jobs.
        skip: How many to leave out.
        size: How many the page holds.
    """
    conditions = _conditions(environment, wanted)
    rows = connection.execute(
        WITH_SCHEDULES.where(*conditions).order_by(definitions.c.name).offset(skip).limit(size)
    ).all()
    total = connection.execute(_COUNT.where(*conditions)).scalar_one()
    return [stored_definition(row) for row in rows], total


_COUNT = (
    sa.select(sa.func.count())
    .select_from(definitions)
    .outerjoin(
        schedules, sa.and_(schedules.c.environment == definitions.c.environment, schedules.c.name == definitions.c.name)
    )
)


def _holds(value: sa.Column[Any], until: sa.Column[datetime]) -> sa.ColumnElement[bool]:
    return sa.and_(value.is_not(None), sa.or_(until.is_(None), until >= store_now()))


_IS_OVERRIDDEN = sa.or_(
    _holds(schedules.c.override_expression, schedules.c.override_expires_at),
    _holds(schedules.c.override_enabled, schedules.c.override_enabled_until),
)


def _conditions(environment: str, wanted: WantedJobs) -> Sequence[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        definitions.c.environment == environment,
        sa.or_(schedules.c.name.is_not(None), definitions.c.service_name.is_not(None)),
    ]
    if not wanted.retired:
        conditions.append(sa.or_(definitions.c.retired_at.is_(None), definitions.c.orphaned_at.is_not(None)))
    if wanted.overridden_before is not None:
        conditions += [_IS_OVERRIDDEN, schedules.c.override_at < wanted.overridden_before]
    for column, value in (
        (definitions.c.job_group, wanted.group),
        (definitions.c.job_type, wanted.job_type),
        (definitions.c.service_name, wanted.service),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.search is not None:
        conditions.append(
            sa.or_(
                definitions.c.name.icontains(wanted.search, autoescape=True),
                definitions.c.display_name.icontains(wanted.search, autoescape=True),
            )
        )
    return conditions


def schedules_of_queue(
    connection: sa.Connection, environment: str, queue: str, *, but: str, most: int
) -> dict[str, StoredSchedule]:
    """Return the schedules of a queue that may fire, by name, at most so many and without one of them."""
    firing = WITH_SCHEDULES.where(
        definitions.c.environment == environment,
        definitions.c.queue == queue,
        definitions.c.name != but,
        definitions.c.retired_at.is_(None),
        schedules.c.next_run_at.is_not(None),
    )
    found = map(stored_definition, connection.execute(firing.order_by(definitions.c.name).limit(most)))
    return {definition.name: definition.schedule for definition in found if definition.schedule is not None}
