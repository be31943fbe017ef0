"""Pages of schedules for people: jobs that have one, by kind, name, service and group; and how many of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.health import HealthState
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs.definitions import WITH_SCHEDULES, StoredDefinition, stored_definition
from mainspring.store.tables import definitions, job_health, schedules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ScheduleTab(StrEnum):
    """A kind of schedules that people look for."""

    ALL = "all"
    FAILING = "failing"
    STALE = "stale"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class WantedSchedules:
    """Which schedules a page holds; None means any.

    Attributes:
        tab: Their kind.
        search: Those whose name or display name holds this text, in either case.
        service: Those of this service.
        group: Those of this group.
    """

    tab: ScheduleTab = ScheduleTab.ALL
    search: str | None = None
    service: str | None = None
    group: str | None = None


def _holds(until: sa.Column[object]) -> sa.ColumnElement[bool]:
    return sa.or_(until.is_(None), until >= store_now())


_IS_PAUSED = sa.and_(schedules.c.paused_at.is_not(None), _holds(schedules.c.paused_until))
_IS_OVERRIDDEN = sa.and_(schedules.c.override_enabled.is_not(None), _holds(schedules.c.override_enabled_until))
_IS_ENABLED = sa.case((_IS_OVERRIDDEN, schedules.c.override_enabled), else_=schedules.c.code_enabled)
_IS_THERE = schedules.c.retired_at.is_(None)
_OF_TAB: Final[Mapping[ScheduleTab, sa.ColumnElement[bool]]] = {
    ScheduleTab.ALL: sa.true(),
    ScheduleTab.FAILING: sa.and_(_IS_THERE, job_health.c.state == HealthState.FAILING.value),
    ScheduleTab.STALE: sa.and_(_IS_THERE, job_health.c.state == HealthState.STALE.value),
    ScheduleTab.PAUSED: sa.and_(_IS_THERE, _IS_PAUSED),
    ScheduleTab.DISABLED: sa.and_(_IS_THERE, sa.not_(_IS_ENABLED)),
}
_HEALTH = sa.and_(job_health.c.environment == definitions.c.environment, job_health.c.job_name == definitions.c.name)
_PAGE = WITH_SCHEDULES.outerjoin_from(definitions, job_health, _HEALTH)
_COUNTS = (
    sa.select(*(sa.func.sum(sa.case((of_tab, 1), else_=0)).label(tab.value) for tab, of_tab in _OF_TAB.items()))
    .select_from(definitions)
    .join(
        schedules, sa.and_(schedules.c.environment == definitions.c.environment, schedules.c.name == definitions.c.name)
    )
    .outerjoin(job_health, _HEALTH)
)


def page(
    connection: sa.Connection, environment: str, wanted: WantedSchedules, *, skip: int, size: int
) -> list[StoredDefinition]:
    """Return one page of jobs that have a schedule, by name.

    Args:
        connection: Where to read.
        environment: The environment.
        wanted: Which of its schedules.
        skip: How many to leave out.
        size: How many the page holds.
    """
    conditions = [*_conditions(environment, wanted), _OF_TAB[wanted.tab]]
    asked = _PAGE.where(*conditions).order_by(definitions.c.name).offset(skip).limit(size)
    return [stored_definition(row) for row in connection.execute(asked)]


def counts(connection: sa.Connection, environment: str, wanted: WantedSchedules) -> dict[ScheduleTab, int]:
    """Return how many schedules of each kind there are, whichever kind is wanted."""
    row = connection.execute(_COUNTS.where(*_conditions(environment, wanted))).one()
    return {tab: int(getattr(row, tab.value) or 0) for tab in ScheduleTab}


def _conditions(environment: str, wanted: WantedSchedules) -> Sequence[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        definitions.c.environment == environment,
        schedules.c.name.is_not(None),
    ]
    if wanted.service is not None:
        conditions.append(definitions.c.service_name == wanted.service)
    if wanted.group is not None:
        conditions.append(definitions.c.job_group == wanted.group)
    if wanted.search is not None:
        conditions.append(
            sa.or_(
                definitions.c.name.icontains(wanted.search, autoescape=True),
                definitions.c.display_name.icontains(wanted.search, autoescape=True),
            )
        )
    return conditions
