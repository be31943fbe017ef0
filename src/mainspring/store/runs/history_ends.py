"""Which ends of which index hold what is asked of history: any combination of job, status, trigger and tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import FINAL, Status, Trigger
from mainspring.store.engine.lists import is_among
from mainspring.store.runs import index_ends
from mainspring.store.runs.index_ends import Ends, Some
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from enum import StrEnum
    from uuid import UUID

    import sqlalchemy as sa

_ended = executions.c
_STATUSES: Final = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED)
"""The most frequent first."""
_TRIGGERS: Final = (
    Trigger.CRON, Trigger.SYSTEM, Trigger.API, Trigger.INTERVAL, Trigger.DEPENDENCY, Trigger.ADMIN, Trigger.STARTUP,
)  # fmt: skip
_MANY_ENDS: Final = 64
"""Beyond that it pays to look first whether the newest runs of all jobs hold enough of those that are wanted."""
_LOOKED_AT: Final = 4
"""So many times as many of the newest runs of all jobs are looked at as a page holds."""
_MOST_LOOKED_AT: Final = 512


@dataclass(frozen=True, slots=True)
class WantedHistory:
    """Which runs that have ended; None means any.

    Attributes:
        environment: Of this environment.
        statuses: That ended in one of these.
        names: Of these jobs.
        triggers: That one of these has started.
        fingerprint: That failed with this error.
        organizations: Of these tenants.
        of_tenants_alone: Of any tenant: runs of the platform are left out.
        user_id: That this user has asked for.
        conditions: What else must hold of a row.
        cursor: What must hold of those that a page shows, and not of those that are counted.
    """

    environment: str
    statuses: frozenset[Status] = FINAL
    names: Collection[str] | None = None
    triggers: frozenset[Trigger] | None = None
    fingerprint: str | None = None
    organizations: Collection[str] | None = None
    of_tenants_alone: bool = False
    user_id: str | None = None
    conditions: Sequence[sa.ColumnElement[bool]] = ()
    cursor: Sequence[sa.ColumnElement[bool]] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether no run can be meant."""
        choices = (self.statuses, self.names, self.triggers, self.organizations)
        return any(said is not None and not said for said in choices)


class HistoryEnds:
    """Where in the indexes of history some runs stand: found once, then listed and counted.

    Args:
        connection: Where to read.
        wanted: Which runs.
    """

    def __init__(self, connection: sa.Connection, wanted: WantedHistory) -> None:
        self._connection = connection
        self._wanted = wanted
        self._ends = None if wanted.is_nothing else _ends(connection, wanted)

    def first_ids(self, *, most: int, oldest_first: bool = False) -> list[UUID]:
        """Return the ids of the first runs, in their order.

        Args:
            most: At most so many.
            oldest_first: The order; by default the newest come first.
        """
        ends, wanted = self._ends, self._wanted
        if ends is None:
            return []
        if ends.columns[0] == "job_name" and len(ends) > _MANY_ENDS and most * _LOOKED_AT <= _MOST_LOOKED_AT:
            among = self._among_the_first(most * _LOOKED_AT, oldest_first=oldest_first)
            if len(among) >= most:  # nothing else can stand before what was found among the first of all jobs
                return among[:most]
        conditions = _beside(wanted, ends)
        return index_ends.first_ids(self._connection, ends, conditions, most=most, oldest_first=oldest_first)

    def _among_the_first(self, looked_at: int, *, oldest_first: bool) -> list[UUID]:
        of_any = replace(self._wanted, names=None)
        ends = _ends_of_all_jobs(of_any)
        return index_ends.first_of(
            self._connection,
            ends,
            _beside(of_any, ends),
            _is_one_of("job_name", self._wanted.names or ()),
            most=looked_at,
            oldest_first=oldest_first,
        )

    def count(self, *, most: int) -> int:
        """Count the runs, no further than `most` and without regard to a cursor."""
        if self._ends is None:
            return 0
        conditions = _beside(replace(self._wanted, cursor=()), self._ends)
        return index_ends.count(self._connection, self._ends, conditions, most=most)


def _ends(connection: sa.Connection, wanted: WantedHistory) -> Ends:
    """Return the ends of the index that knows most of what is asked."""
    environment, organizations = wanted.environment, wanted.organizations
    statuses = Some(("status",), [(status,) for status in _in_turn(wanted.statuses, _STATUSES)])
    if wanted.fingerprint is not None:
        return Ends(environment, Some(("error_fingerprint",), [(wanted.fingerprint,)]))
    if organizations is not None:
        of_them = Some(("organization_id",), [(organization,) for organization in sorted(organizations)])
        if wanted.user_id is not None:
            return Ends(environment, of_them, Some(("user_id",), [(wanted.user_id,)]))
        names = wanted.names or {
            name for one in organizations for name in index_ends.job_names_of(connection, environment, one)
        }
        return Ends(environment, of_them, _of_jobs(names), statuses)
    if wanted.of_tenants_alone:
        names = wanted.names or index_ends.job_names_of(connection, environment, None)
        return Ends(environment, _of_jobs(names), statuses)
    of_all = _ends_of_all_jobs(wanted)
    if wanted.names is None:
        return of_all
    [pairs] = of_all.parts
    if len(of_all) * len(wanted.names) > _MANY_ENDS:
        pairs = Some(pairs.columns, index_ends.present(connection, of_all))
    return Ends(environment, _of_jobs(wanted.names), pairs)


def _ends_of_all_jobs(wanted: WantedHistory) -> Ends:
    statuses = _in_turn(wanted.statuses, _STATUSES)
    triggers = _in_turn(wanted.triggers or frozenset(Trigger), _TRIGGERS)
    return Ends(wanted.environment, Some(("status", "trigger"), list(product(statuses, triggers))))


def _in_turn(wanted: Collection[StrEnum], usual: Sequence[StrEnum]) -> list[str]:
    """Return words in the order in which a count is likely to be over soon."""
    return [word.value for word in usual if word in wanted]


def _of_jobs(names: Iterable[str]) -> Some:
    return Some(("job_name",), [(name,) for name in sorted(names)])


def _beside(wanted: WantedHistory, ends: Ends) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for what the index does not know."""
    asked: dict[str, Iterable[str] | None] = {
        "job_name": wanted.names,
        "status": None if wanted.statuses == FINAL else [status.value for status in wanted.statuses],
        "trigger": None if wanted.triggers is None else [trigger.value for trigger in wanted.triggers],
        "organization_id": wanted.organizations,
        "user_id": None if wanted.user_id is None else [wanted.user_id],
    }
    rest = [
        _is_one_of(column, values)
        for column, values in asked.items()
        if values is not None and column not in ends.columns
    ]
    if wanted.of_tenants_alone:  # said even where the ends imply it, so that the index of tenants alone may serve
        rest.append(_ended.organization_id.is_not(None))
    return [*rest, *wanted.conditions, *wanted.cursor]


def _is_one_of(column: str, values: Iterable[str]) -> sa.ColumnElement[bool]:
    return is_among(_ended[column], values)
