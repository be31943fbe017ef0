"""Where in the indexes of history what is asked stands: any combination of job, status, trigger and tenant.

What is frequent is met at once by whoever walks from the newest run back, so that no index of all jobs holds it; what
is rare has one of its own (`executions_rare`). A walk ends after some thousands of runs, and what it has not found is
merged from the ends of the index by job, of the newest weeks first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import FINAL, Status, Trigger
from mainspring.store.engine import partitions
from mainspring.store.engine.lists import is_among
from mainspring.store.runs import history_walks, index_ends
from mainspring.store.runs.index_ends import Ends, Some
from mainspring.store.tables import executions
from mainspring.store.tables.executions import RARE_END

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from enum import StrEnum
    from uuid import UUID

    import sqlalchemy as sa

_ended = executions.c
_STATUSES: Final = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED)
"""The most frequent first."""
_TRIGGERS: Final = (
    Trigger.CRON, Trigger.SYSTEM, Trigger.API, Trigger.INTERVAL, Trigger.DEPENDENCY, Trigger.ADMIN, Trigger.STARTUP,
)  # fmt: skip
_FREQUENT: Final = frozenset(product([Status.SUCCEEDED.value], [Trigger.CRON.value, Trigger.API.value]))
"""The ends that `executions_rare` leaves out."""
_PAIR: Final = ("status", "trigger")
_PASSED: Final = 512
"""So many of the rare runs of all jobs are passed for those of some jobs; often there are no more."""
_LEAST_LISTED: Final = 64
"""So many ids are asked for where many ends are merged: where there are no more, nothing is left to count."""
_MANY_ENDS: Final = 64
"""Beyond that it pays to walk first, and to look at which of the rarer ends anything stands."""
_MOST_LATE: Final = 256
"""So many runs of the last week are looked up for when they ended; beyond that the index of all weeks is faster."""
_FEW: Final = 2047
"""So many runs at many ends are read as a whole, in one scan, rather than in the order of each end."""


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
        ids: Between which ids: what a span of time means for them.
        conditions: What else must hold of a row.
        certain_ids: Between which ids `conditions` hold of every run, so that an index alone can count there; empty:
            nothing is known of it.
        edges: What `ids` holds beside these, part for part: only there runs are looked up to be counted.
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
    ids: Sequence[sa.ColumnElement[bool]] = ()
    conditions: Sequence[sa.ColumnElement[bool]] = ()
    certain_ids: Sequence[sa.ColumnElement[bool]] = ()
    edges: Sequence[Sequence[sa.ColumnElement[bool]]] = ()
    cursor: Sequence[sa.ColumnElement[bool]] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether no run can be meant."""
        choices = (self.statuses, self.names, self.triggers, self.organizations)
        return any(said is not None and not said for said in choices)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The statuses with the triggers, the most frequent first."""
        triggers = frozenset(Trigger) if self.triggers is None else self.triggers
        return list(product(_in_turn(self.statuses, _STATUSES), _in_turn(triggers, _TRIGGERS)))


class HistoryEnds:
    """Where in the indexes of history some runs stand: found once, then listed and counted.

    Args:
        connection: Where to read.
        wanted: Which runs.
    """

    def __init__(self, connection: sa.Connection, wanted: WantedHistory) -> None:
        self._connection = connection
        self._wanted = wanted
        self._total: int | None = None
        """How many runs there are, once a list has come to their end."""
        index_ends.keep_order(connection)

    def first_ids(self, *, most: int, oldest_first: bool = False) -> list[UUID]:
        """Return the ids of the first runs, in their order.

        Args:
            most: At most so many.
            oldest_first: The order; by default the newest come first.
        """
        wanted = self._wanted
        if wanted.is_nothing:
            return []
        met, is_all = self._met(most, oldest_first=oldest_first)
        if is_all:
            return self._whole(met)[:most]
        if len(met) >= most:  # nothing else can stand before what was met first
            return met[:most]
        is_newest = not (oldest_first or wanted.ids or wanted.cursor)
        if is_newest and most <= _MOST_LATE and partitions.is_partitioned(self._connection):
            found = self._at_ends(history_walks.of_late(self._connection), most=most)
            if len(found) == most:  # whatever else there is was made before
                return found
        if (few := self._few_at_many_ends) is not None:
            return self._whole(sorted(few, reverse=not oldest_first))[:most]
        listed = max(most, _LEAST_LISTED)
        found = self._at_ends([*wanted.ids, *wanted.cursor], most=listed, oldest_first=oldest_first)
        return (found if len(found) == listed else self._whole(found))[:most]

    def count(self, *, most: int) -> int:
        """Count the runs, no further than `most` and without regard to a cursor."""
        wanted = self._wanted
        if wanted.is_nothing:
            return 0
        if self._total is not None:
            return min(self._total, most)
        certain = self._counted(wanted.certain_ids, most=most) if wanted.certain_ids else 0
        if certain == most:
            return most
        if wanted.edges and self._has_few_ends:
            at_edges = (self._counted([*wanted.conditions, *edge], most=most) for edge in wanted.edges)
            return min(most, certain + sum(at_edges))
        if self._may_be_met and (wanted.names is None or wanted.conditions or wanted.ids):
            walk = replace(self._walk, within=wanted.ids)
            if history_walks.count(self._connection, walk, most=most) == most:
                return most
        return self._counted([*wanted.conditions, *wanted.ids], most=most)

    def _counted(self, conditions: Sequence[sa.ColumnElement[bool]], *, most: int) -> int:
        total = 0
        for ends in self._most_likely_first():
            said = [*_beside(self._wanted, ends), *conditions]
            total += index_ends.count(self._connection, ends, said, most=most - total)
            if total == most:  # the next ends, which may have to be looked for first, are not asked for
                break
        return total

    def _whole(self, ids: list[UUID]) -> list[UUID]:
        """Return ids behind which no run stands; where none stands before them either, they are counted herewith."""
        if not self._wanted.cursor:
            self._total = len(ids)
        return ids

    @property
    def _few_at_many_ends(self) -> list[UUID] | None:
        """Return the ids of all runs, in no order; None: they are many, or better read in the order of each end."""
        wanted = self._wanted
        if wanted.cursor or wanted.conditions or wanted.ids or wanted.names is None or not self._has_many_ends:
            return None
        triggers, statuses = ({pair[place] for pair in wanted.pairs} for place in (1, 0))
        ends = Ends(wanted.environment, Some(("trigger",), [(word,) for word in sorted(triggers)]), in_order=False)
        # Statuses even where all are wanted: so the index by job knows how a scan goes from one end to the next.
        listed = [is_among(_ended.job_name, wanted.names), is_among(_ended.status, statuses)]
        return index_ends.all_ids(self._connection, ends, listed, most=_FEW)

    @property
    def _has_many_ends(self) -> bool:
        """Whether they stand at many ends of the index by job."""
        wanted = self._wanted
        return self._narrow is None and wanted.names is not None and len(wanted.names) * len(wanted.pairs) > _MANY_ENDS

    @property
    def _has_few_ends(self) -> bool:
        """Whether it takes little to look at all their ends, so that it pays to do so once more."""
        return self._narrow is not None or (self._wanted.names is not None and not self._has_many_ends)

    @property
    def _frequent(self) -> list[tuple[str, str]]:
        return [pair for pair in self._wanted.pairs if pair in _FREQUENT]

    @property
    def _walk(self) -> history_walks.Walk:
        wanted = self._wanted
        meant = [_ended.environment == wanted.environment, *_asked(wanted, ["job_name"]), *wanted.conditions]
        if wanted.names is not None:
            meant.append(history_walks.is_one_of(self._connection, _ended.job_name, wanted.names))
        return history_walks.Walk(meant, [*wanted.ids, *wanted.cursor])

    @property
    def _may_be_met(self) -> bool:
        """Whether some of them are likely to be among the first few thousand runs of all."""
        wanted = self._wanted
        if wanted.fingerprint is not None or wanted.organizations is not None or _FREQUENT.isdisjoint(wanted.pairs):
            return False
        return wanted.names is None or len(wanted.names) * len(wanted.pairs) > _MANY_ENDS

    def _met(self, most: int, *, oldest_first: bool) -> tuple[list[UUID], bool]:
        """Return what is met by passing some runs of all jobs, or the rare ones, and whether that is all there is."""
        wanted = self._wanted
        if self._may_be_met:
            return history_walks.first_ids(self._connection, self._walk, most=most, oldest_first=oldest_first), False
        if wanted.names is None or not self._has_many_ends:
            return [], False
        ends = self._rare_ends
        of_any = [*_beside(replace(wanted, names=None), ends), *wanted.conditions, *wanted.ids, *wanted.cursor]
        is_of_jobs = is_among(_ended.job_name, wanted.names)
        passed, met = index_ends.first_of(
            self._connection, ends, of_any, is_of_jobs, most=_PASSED, enough=most, oldest_first=oldest_first
        )
        return met, passed < _PASSED and _FREQUENT.isdisjoint(wanted.pairs)

    def _at_ends(
        self, conditions: Sequence[sa.ColumnElement[bool]], *, most: int, oldest_first: bool = False
    ) -> list[UUID]:
        found: list[UUID] = []
        for ends in self._listed:
            said = [*_beside(self._wanted, ends), *self._wanted.conditions, *conditions]
            found += index_ends.first_ids(self._connection, ends, said, most=most, oldest_first=oldest_first)
        return sorted(found, reverse=not oldest_first)[:most]

    def _most_likely_first(self) -> Iterator[Ends]:
        """Yield the ends at which they are counted: of many jobs those of frequent runs, which are often enough."""
        wanted = self._wanted
        if wanted.names is None or not self._has_many_ends:
            yield from self._listed
            return
        if frequent := self._frequent:
            yield self._of_jobs(wanted.names, frequent)
        if present := self._present:
            is_by_ids = wanted.conditions or wanted.ids
            yield self._of_jobs(wanted.names, present) if is_by_ids else self._of_pairs(present)

    @cached_property
    def _present(self) -> list[tuple[str, ...]]:
        """Return the pairs of rare runs of which there are any."""
        return index_ends.present(self._connection, self._rare_ends)

    @cached_property
    def _listed(self) -> list[Ends]:
        """Return the ends at which the runs stand by their ids: each is a whole prefix of an index."""
        wanted = self._wanted
        narrow = self._narrow
        if narrow is not None:
            return [narrow]
        frequent = self._frequent
        if wanted.names is not None and len(wanted.names) * len(wanted.pairs) <= _MANY_ENDS:
            return [self._of_jobs(wanted.names, wanted.pairs)]
        if wanted.names is None:
            return [self._rare_ends, self._of_jobs(self._all_names, frequent)] if frequent else [self._rare_ends]
        return [self._of_jobs(wanted.names, [*frequent, *self._present])]

    @cached_property
    def _rare_ends(self) -> Ends:
        wanted = self._wanted
        rare = [pair for pair in wanted.pairs if pair not in _FREQUENT]
        return Ends(wanted.environment, Some(_PAIR, rare), said=[RARE_END])

    @cached_property
    def _narrow(self) -> Ends | None:
        """Return the ends of the index of tenants or of errors, where one of them is asked for."""
        environment, wanted = self._wanted.environment, self._wanted
        if wanted.fingerprint is not None:
            return Ends(environment, Some(("error_fingerprint",), [(wanted.fingerprint,)]))
        statuses = Some(("status",), [(status,) for status in _in_turn(wanted.statuses, _STATUSES)])
        if wanted.organizations is not None:
            of_them = Some(("organization_id",), [(organization,) for organization in sorted(wanted.organizations)])
            if wanted.user_id is not None:
                return Ends(environment, of_them, Some(("user_id",), [(wanted.user_id,)]))
            names = wanted.names or {
                name
                for one in wanted.organizations
                for name in index_ends.job_names_of(self._connection, environment, one)
            }
            return Ends(environment, of_them, _jobs(names), statuses)
        if wanted.of_tenants_alone:
            names = wanted.names or index_ends.job_names_of_tenants(self._connection, environment)
            return Ends(environment, _jobs(names), statuses)
        return None

    @cached_property
    def _all_names(self) -> list[str]:
        return index_ends.job_names(self._connection, self._wanted.environment)

    def _of_pairs(self, pairs: Sequence[tuple[str, ...]]) -> Ends:
        """Return an end for each pair, of all jobs together: one scan of the index by job, with a list of their names.

        To begin a scan anew for each job takes PostgreSQL three times as long; but only so are their runs in order.
        """
        return Ends(self._wanted.environment, Some(_PAIR, pairs), in_order=False)

    def _of_jobs(self, names: Iterable[str], pairs: Sequence[tuple[str, ...]]) -> Ends:
        return Ends(self._wanted.environment, _jobs(names), Some(_PAIR, pairs))


def _in_turn(wanted: Collection[StrEnum], usual: Sequence[StrEnum]) -> list[str]:
    """Return words in the order in which a count is likely to be over soon."""
    return [word.value for word in usual if word in wanted]


def _jobs(names: Iterable[str]) -> Some:
    return Some(("job_name",), [(name,) for name in sorted(names)])


def _beside(wanted: WantedHistory, ends: Ends) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for what the index does not know."""
    return [*_asked(wanted, ends.columns), *ends.said]


def _asked(wanted: WantedHistory, known: Collection[str] = ()) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on all columns but those that are known to be as asked."""
    asked: dict[str, Iterable[str] | None] = {
        "job_name": wanted.names,
        "status": None if wanted.statuses == FINAL else [status.value for status in wanted.statuses],
        "trigger": None if wanted.triggers is None else [trigger.value for trigger in wanted.triggers],
        "organization_id": wanted.organizations,
        "user_id": None if wanted.user_id is None else [wanted.user_id],
    }
    conditions = [
        is_among(_ended[column], values)
        for column, values in asked.items()
        if values is not None and column not in known
    ]
    if wanted.of_tenants_alone:  # said even where the ends imply it, so that the index of tenants alone may serve
        conditions.append(_ended.organization_id.is_not(None))
    return conditions
