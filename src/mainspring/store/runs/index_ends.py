"""Looks into history that begin at many ends of one index at once, and merge what they find.

An index by status, trigger and id holds the newest failed run of cron at one of its ends, the newest successful one at
another. Whatever is asked for is the merge of a few such ends, so that neither a rare failure among millions of
successes nor a rare job among millions of runs costs a scan; and because every end is a whole prefix of the index, a
count reads the index alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from mainspring.store.engine.lists import ListOf, one_of
from mainspring.store.engine.local_settings import set_local
from mainspring.store.tables import executions
from mainspring.store.tables.newest_first import NewestFirst, OldestFirst
from mainspring.store.tables.types import Identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SKEW: Final = timedelta(minutes=5)
"""An id is made by the clock of a node, other instants are those of the store."""
_ended = executions.c
Shape = tuple[tuple[str, ...], ...]
"""The names of neighbouring columns of an index, part for part: what the statements about some of its ends share."""
_WHOLE_POWERS: Final = 4096
_STEPS: Final = 8
_LIKELY: Final = 2
"""Among so many times as many runs as are wanted there are likely to be enough."""


@dataclass(frozen=True, slots=True)
class Some:
    """Some values of neighbouring columns of an index.

    Attributes:
        columns: Their names.
        values: What they are, together, without doubles.
    """

    columns: tuple[str, ...]
    values: Sequence[tuple[str, ...]]


class Ends:
    """Some ends of an index: each combination of some values of its columns.

    Args:
        environment: Whose history: the first column of each index.
        parts: The columns between the environment and the id, in the order of the index.
        said: What holds of each row of an index that is partial, in its words.
        in_order: Whether the runs of each stand there in the order of their ids: it is a whole prefix of the index.

    Attributes:
        parts: The same.
        said: The same.
        in_order: The same.
        columns: All of these columns.
    """

    def __init__(
        self, environment: str, *parts: Some, said: Sequence[sa.ColumnElement[bool]] = (), in_order: bool = True
    ) -> None:
        self._environment = environment
        self.parts = parts
        self.said = said
        self.in_order = in_order
        self.columns = tuple(column for part in parts for column in part.columns)

    def __len__(self) -> int:
        return prod(len(part.values) for part in self.parts)

    @property
    def shape(self) -> Shape:
        """The columns of each part."""
        return tuple(part.columns for part in self.parts)

    @property
    def bound(self) -> dict[str, Any]:
        """The values as a statement takes them: a list for each column."""
        lists = {
            f"end_{column}": [value[place] for value in part.values]
            for part in self.parts
            for place, column in enumerate(part.columns)
        }
        return {"environment": self._environment, **lists}


def keep_order(connection: sa.Connection) -> None:
    """Let PostgreSQL read ends in the order of their index for the rest of the transaction.

    Of an end it knows only how many runs there are for any job, status and tenant: of each a handful. It would sort
    these, above all while a week is new and empty, and so read an end of thousands as a whole. Nor does it know how few
    runs a scan of many ends at once will find: it would rather read a week that nobody has vacuumed yet. Nor need it
    plan anew for each question, which it does where it sees that some weeks are out of it, and which takes longer than
    most answers: a plan of all weeks leaves these out when it begins.
    """
    if connection.dialect.name == "postgresql":
        set_local(
            connection,
            enable_sort="off",
            enable_seqscan="off",
            enable_bitmapscan="off",
            plan_cache_mode="force_generic_plan",
        )


def first_ids(
    connection: sa.Connection,
    ends: Ends,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    most: int,
    oldest_first: bool = False,
) -> list[UUID]:
    """Return the first ids of all ends together, in their order.

    Args:
        connection: Where to read.
        ends: Where to look.
        conditions: What else must hold; each row that an end offers is looked up for those that its index cannot tell.
        most: At most so many.
        oldest_first: The order; by default the newest come first.
    """
    order = (OldestFirst if oldest_first else NewestFirst)(_ended.id)
    wanted = sa.select(_ended.id).where(*conditions).order_by(order)
    found = _at_each_end(connection.dialect.name, ends.shape, wanted, most)
    first = found.order_by(sa.asc("id") if oldest_first else sa.desc("id")).limit(written(most))
    return list(connection.execute(first, ends.bound).scalars())[:most]


def all_ids(
    connection: sa.Connection, ends: Ends, conditions: Sequence[sa.ColumnElement[bool]], *, most: int
) -> list[UUID] | None:
    """Return the ids at all ends together, in no order; None: they are more than `most`.

    Args:
        connection: Where to read.
        ends: Where to look.
        conditions: As of `first_ids`.
        most: How many are read at most.
    """
    found = _at_each_end(connection.dialect.name, ends.shape, sa.select(_ended.id).where(*conditions), most + 1)
    ids = list(connection.execute(found.limit(written(most + 1)), ends.bound).scalars())
    return ids if len(ids) <= most else None


def first_of(
    connection: sa.Connection,
    ends: Ends,
    conditions: Sequence[sa.ColumnElement[bool]],
    wanted: sa.ColumnElement[bool],
    *,
    most: int,
    enough: int,
    oldest_first: bool = False,
) -> tuple[int, list[UUID]]:
    """Return how many runs the first ones are, at most `most`, and the ids of those that are wanted, in their order.

    Where there are more than `most`, at least `enough` of the wanted ones are returned if the first ones hold as many:
    each run that is looked at is a page of the disk.
    """
    ids = first_ids(connection, ends, conditions, most=most, oldest_first=oldest_first)
    met: list[UUID] = []
    for some in (ids[: _LIKELY * enough], ids[_LIKELY * enough :]):
        if some and (len(met) < enough or len(ids) < most):
            asked = {**ends.bound, "ids": some, "since": none_ended_before(some)}
            found = set(connection.execute(_OF_THEM.where(wanted), asked).scalars())
            met += [execution_id for execution_id in some if execution_id in found]
    return len(ids), met


def job_names_of(connection: sa.Connection, environment: str, organization_id: str) -> list[str]:
    """Return the names of the jobs of which a tenant has runs: one step into the index for each, however many runs.

    Args:
        connection: Where to read.
        environment: The environment.
        organization_id: The tenant.
    """
    return _names(connection, _NAMES_OF_TENANT, {"environment": environment, "organization": organization_id})


def job_names_of_tenants(connection: sa.Connection, environment: str) -> list[str]:
    """Return the names of the jobs of which any tenant has runs."""
    return _names(connection, _NAMES_OF_TENANTS, {"environment": environment})


def job_names(connection: sa.Connection, environment: str) -> list[str]:
    """Return the names of all jobs that have runs."""
    return _names(connection, _NAMES, {"environment": environment})


def _names(connection: sa.Connection, statement: sa.Select[str | None], asked: dict[str, str]) -> list[str]:
    return [name for name in connection.execute(statement, asked).scalars() if name is not None]


def count(connection: sa.Connection, ends: Ends, conditions: Sequence[sa.ColumnElement[bool]], *, most: int) -> int:
    """Count what stands at all ends together, no further than `most`."""
    write = _counting if conditions else _counting_all
    counted = write(connection.dialect.name, ends.shape, rounded(most), *conditions, in_order=ends.in_order)
    return min(most, connection.execute(counted, ends.bound).scalar_one())


def _counting(
    dialect: str, shape: Shape, most: int, *conditions: sa.ColumnElement[bool], in_order: bool
) -> sa.Select[int]:
    wanted = sa.select(_ended.id).where(*conditions)
    if in_order:  # which keeps to the index
        wanted = wanted.order_by(OldestFirst(_ended.id))
    found = _at_each_end(dialect, shape, wanted, most)
    return sa.select(sa.func.count()).select_from(found.limit(written(most)).subquery("found"))


_counting_all = lru_cache(_counting)
"""To write such a statement takes as long as its server takes to count thousands."""


def present(connection: sa.Connection, ends: Ends) -> list[tuple[str, ...]]:
    """Return those values of ends at which anything stands."""
    rows = _rows(connection.dialect.name, ends.shape)
    # Not `exists`, which PostgreSQL would turn into a join with all of history.
    there = [_IN_ENVIRONMENT, *_at(ends.shape, rows), *ends.said]
    newest = sa.select(_ended.id).where(*there).order_by(NewestFirst(_ended.id)).limit(1)
    is_there = newest.correlate(*rows.parts).scalar_subquery().is_not(None)
    found = sa.select(*rows.columns).select_from(rows.joined).where(is_there)
    return [tuple(row) for row in connection.execute(found, ends.bound)]


_IN_ENVIRONMENT = _ended.environment == sa.bindparam("environment")
OF_IDS: Final = (
    one_of(_ended.id, "ids"),
    _IN_ENVIRONMENT,
    _ended.completed_at >= sa.bindparam("since", type_=_ended.completed_at.type),
)
"""Rows by their `ids`, in the weeks `since` none of them had ended (`none_ended_before`)."""
_OF_THEM = sa.select(_ended.id).where(*OF_IDS)


def _job_names(*whose: sa.ColumnElement[bool]) -> sa.Select[str | None]:
    """Select the names one after the other, each as the first one after the one before."""
    names = sa.select(sa.func.min(_ended.job_name).label("name")).where(_IN_ENVIRONMENT, *whose)
    first = names.cte("names", recursive=True)
    following = names.where(_ended.job_name > first.c.name).correlate(first).scalar_subquery()
    return sa.select(first.union_all(sa.select(following).where(first.c.name.is_not(None))).c.name)


_NAMES = _job_names()
_NAMES_OF_TENANTS = _job_names(_ended.organization_id.is_not(None))
_NAMES_OF_TENANT = _job_names(_ended.organization_id == sa.bindparam("organization"))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The values of ends as the rows of a query.

    Attributes:
        joined: What they are selected from.
        parts: The tables of which that is made.
        columns: One for each column of the index.
    """

    joined: sa.FromClause
    parts: Sequence[sa.FromClause]
    columns: Sequence[sa.ColumnElement[str]]


def _rows(dialect: str, shape: Shape) -> _Rows:
    of_each = [_rows_of(dialect, columns) for columns in shape]
    joined = of_each[0].joined
    for rows in of_each[1:]:
        joined = sa.join(joined, rows.joined, sa.true())
    return _Rows(
        joined,
        [part for rows in of_each for part in rows.parts],
        [column for rows in of_each for column in rows.columns],
    )


def _rows_of(dialect: str, columns: Sequence[str]) -> _Rows:
    lists = [sa.bindparam(f"end_{column}", type_=ListOf(sa.Text())) for column in columns]
    if dialect == "postgresql":
        rows = sa.func.unnest(*lists).table_valued(*columns).render_derived()
        return _Rows(rows, [rows], [sa.type_coerce(rows.c[column], sa.Text()) for column in columns])
    parts = [
        sa.func.json_each(values).table_valued(sa.column("key"), sa.column("value", sa.Text()), name=f"end_{column}")
        for column, values in zip(columns, lists, strict=True)
    ]
    joined: sa.FromClause = parts[0]
    for part in parts[1:]:
        joined = sa.join(joined, part, part.c.key == parts[0].c.key)
    return _Rows(joined, parts, [part.c.value for part in parts])


def _at(shape: Shape, rows: _Rows) -> list[sa.ColumnElement[bool]]:
    return [_ended[name] == column for name, column in zip(chain.from_iterable(shape), rows.columns, strict=True)]


def written(most: int) -> sa.ColumnElement[int]:
    """Return a limit that is part of the statement: not knowing it, PostgreSQL would plan for a tenth of all rows.

    It is a power of two, so that few statements serve all pages; beyond thousands, where that would read much for
    nothing, a quarter of one.
    """
    return sa.literal_column(str(rounded(most)), sa.Integer())


def rounded(most: int) -> int:
    """Return the limit that is written for one."""
    power = 1 << (most - 1).bit_length()
    step = power if power <= _WHOLE_POWERS else power // _STEPS
    return -(-most // step) * step


def _at_each_end(dialect: str, shape: Shape, wanted: sa.Select[Any], most: int) -> sa.Select[Any]:
    """Select `id` of what is wanted at each end, a few more of any than `most`: a lateral join, as either spells it."""
    rows = _rows(dialect, shape)
    of_one = wanted.where(_IN_ENVIRONMENT, *_at(shape, rows)).limit(written(most))
    if dialect == "postgresql":
        first = of_one.lateral("first")
        return sa.select(first.c.id).select_from(sa.join(rows.joined, first, sa.true()))
    # SQLite looks aside only in the arguments of a function.
    some = of_one.correlate(*rows.parts).subquery("some")
    listed = sa.select(sa.func.json_group_array(some.c.id)).correlate(*rows.parts).scalar_subquery()
    each = sa.func.json_each(listed).table_valued(sa.column("value", Identifier()), name="each")
    return sa.select(each.c.value.label("id")).select_from(sa.join(rows.joined, each, sa.true()))


def first_id(instant: datetime) -> UUID:
    """Return the lowest id of version 7 that can be made at an instant."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)


def none_ended_before(ids: Collection[UUID]) -> datetime:
    """Return an instant before which no run of these ids had ended: the first of them was not yet asked for."""
    oldest = min((made.int >> 80 for made in ids), default=0)
    return datetime.fromtimestamp(oldest / 1000, UTC) - (SKEW if oldest else timedelta())
