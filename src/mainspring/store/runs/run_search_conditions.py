"""The terms of a run filter as conditions on the two tables of executions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.run_filter_keys import JOB_NAME, PAYLOAD, Kind
from mainspring.domain.run_filter_values import count_of, seconds_of, time_of
from mainspring.store.runs.index_ends import SKEW, first_id
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from mainspring.domain.access import Scope
    from mainspring.domain.run_filter import RunFilter, Term

TEXT_WINDOW: Final = timedelta(hours=24)
WINDOW: Final = timedelta(days=30)
INDEXED: Final = frozenset({"status", "job", "group", "type", "trigger", "org", "fingerprint", "id", JOB_NAME})
"""What may be asked of all of history; the rest is looked for among the runs of a window."""
NAMING: Final = frozenset({"job", "group", "type", JOB_NAME})
"""What says which jobs are meant; their names are read first."""
_WHOLE_TEXT: Final = frozenset({Kind.TEXT, Kind.FIELD})
_COMPARED: Final[dict[str, Callable[[Any, Any], Any]]] = {">": gt, "<": lt, ">=": ge, "<=": le}
_TURNED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_COLUMNS: Final = {
    "queue": "queue", "by": "user_id", "org": "organization_id", "trigger": "trigger", "attempt": "attempt", "id": "id",
    "created": "created_at", "started": "started_at", "ended": "completed_at", "duration": "duration_ms",
    "fingerprint": "error_fingerprint",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunSearch:
    """What somebody looks for, and when.

    Attributes:
        filter: What is asked; one with faults means nothing.
        now: From when ages are counted.
        zone: In which times are read that name none.
        names: The jobs that its words about jobs mean; None: it has none. `run_search.named` fills them in.
        unwanted_names: The jobs that its words take away.
    """

    filter: RunFilter
    now: datetime
    zone: tzinfo
    names: tuple[str, ...] | None = None
    unwanted_names: tuple[str, ...] = field(default=())

    @property
    def window(self) -> timedelta | None:
        """How far back runs are looked at for what no index knows; None: to the first."""
        asked = [term for term in self.filter.terms if term.key not in INDEXED]
        if not asked or any(_is_lower_bound(term) for term in asked):
            return None
        return TEXT_WINDOW if any(term.kind in _WHOLE_TEXT for term in asked) else WINDOW

    @property
    def statuses(self) -> frozenset[Status]:
        """The statuses that it does not rule out."""
        left = frozenset(Status)
        for term in self.filter.terms:
            if term.key == "status":
                said = frozenset(map(Status, term.values))
                left = left - said if term.is_excluded else left & said
        return left

    @property
    def triggers(self) -> frozenset[Trigger] | None:
        """The triggers that it does not rule out; None: it says nothing of them."""
        terms = [term for term in self.filter.terms if term.key == "trigger"]
        left = frozenset(Trigger)
        for term in terms:
            said = frozenset(map(Trigger, term.values))
            left = left - said if term.is_excluded else left & said
        return left if terms else None

    @property
    def organizations(self) -> set[str] | None:
        """The tenants that it asks for; None: any, or those that it does not take away."""
        return self._asked("org")

    @property
    def fingerprint(self) -> str | None:
        """The one error that it asks for."""
        asked = self._asked("fingerprint")
        return asked.pop() if asked is not None and len(asked) == 1 else None

    def _asked(self, key: str) -> set[str] | None:
        said = [set(term.values) for term in self.filter.terms if term.key == key and not term.is_excluded]
        return said[0].intersection(*said[1:]) if said else None


def conditions(search: RunSearch, scope: Scope, table: sa.Table, dialect: str) -> list[sa.ColumnElement[bool]]:
    """Return what must hold of a row, but for its status and job, which choose the index.

    Args:
        search: What is looked for.
        scope: Whose runs.
        table: One of the two tables of executions.
        dialect: The name of the database's kind.
    """
    wanted = [table.c.environment == scope.environment]
    if scope.organization_id is not None:
        wanted.append(table.c.organization_id == scope.organization_id)
    if scope.user_id is not None:
        wanted.append(table.c.user_id == scope.user_id)
    if (window := search.window) is not None:
        wanted.append(table.c.id >= first_id(search.now - window))
    if search.unwanted_names:
        wanted.append(table.c.job_name.not_in(search.unwanted_names))
    for term in search.filter.terms:
        if term.key == "status" or term.key in NAMING:
            continue
        condition = _condition(term, search, table, dialect)
        wanted.append(sa.not_(sa.func.coalesce(condition, sa.false())) if term.is_excluded else condition)
        if _is_lower_bound(term):
            wanted.append(table.c.id >= first_id(_instant(term.values[0], search) - SKEW))
    return wanted


def ids_before(search: RunSearch) -> list[sa.ColumnElement[bool]]:
    """Return before which ids the runs that have ended stand: what began before an instant was asked for before it.

    Without this a walk for the runs of last month would begin with those of today.
    """
    ends = [_instant(term.values[0], search) + SKEW for term in search.filter.terms if _is_upper_bound(term)]
    return [executions.c.id < first_id(end) for end in ends]


def _is_upper_bound(term: Term) -> bool:
    if term.key not in {"created", "started", "ended"} or term.is_excluded:
        return False
    is_age = seconds_of(term.values[0]) is not None
    return term.comparison.startswith(">" if is_age else "<")


def _is_lower_bound(term: Term) -> bool:
    if term.key != "created" or term.is_excluded:
        return False
    is_age = seconds_of(term.values[0]) is not None
    return term.comparison.startswith("<" if is_age else ">")


def _condition(  # noqa: PLR0911 - one return per kind of value
    term: Term, search: RunSearch, table: sa.Table, dialect: str
) -> sa.ColumnElement[bool]:
    if term.key == "error":
        return sa.or_(*(_says(table, value) for value in term.values))
    if term.key == "tag":
        return sa.or_(*(_has_tag(table, value, dialect) for value in term.values))
    if term.kind is Kind.FIELD:
        return _field_is(table, term.key.removeprefix(PAYLOAD), term.values, dialect)
    name = _COLUMNS[term.key]
    if name not in table.c:
        return sa.false()
    column = table.c[name]
    match term.kind:
        case Kind.INSTANT:
            is_age = seconds_of(term.values[0]) is not None
            comparison = _TURNED[term.comparison] if is_age else term.comparison
            return _COMPARED[comparison](column, _instant(term.values[0], search))
        case Kind.DURATION:
            return _COMPARED[term.comparison](column, int((seconds_of(term.values[0]) or 0) * 1000))
        case Kind.COUNT if term.comparison:
            return _COMPARED[term.comparison](column, count_of(term.values[0]))
        case Kind.COUNT:
            return column.in_([count_of(value) for value in term.values])
        case Kind.IDENTIFIER:
            return column.in_([UUID(value) for value in term.values])
        case _:
            return column.in_(term.values)


def _instant(value: str, search: RunSearch) -> datetime:
    seconds = seconds_of(value)
    if seconds is not None:
        return search.now - timedelta(seconds=seconds)
    return time_of(value, search.zone) or search.now


def _says(table: sa.Table, value: str) -> sa.ColumnElement[bool]:
    said = [table.c.error_message, table.c.error] + ([table.c.summary] if table is executions else [])
    return sa.or_(*(column.icontains(value, autoescape=True) for column in said))


def _has_tag(table: sa.Table, value: str, dialect: str) -> sa.ColumnElement[bool]:
    tag = sa.literal(f"tag:{value}", sa.Text())
    if dialect == "postgresql":
        return tag == sa.any_(sa.type_coerce(table.c.search_terms, postgresql.ARRAY(sa.Text())))
    terms = sa.func.json_each(table.c.search_terms).table_valued(sa.column("value", sa.Text()))
    return sa.exists().select_from(terms).where(terms.c.value == tag)


def _field_is(table: sa.Table, way: str, values: tuple[str, ...], dialect: str) -> sa.ColumnElement[bool]:
    """Compare as JSON: `5` is the number and the text, as people do not see which of them a payload holds."""
    written = [text for value in values for text in (value, json.dumps(value, ensure_ascii=False))]
    steps = way.split(".")
    if dialect == "postgresql":
        path = sa.bindparam(None, steps, type_=postgresql.ARRAY(sa.Text()))
        found = sa.cast(table.c.payload, postgresql.JSONB).op("#>", return_type=postgresql.JSONB())(path)
        return sa.cast(found, sa.Text()).in_(written)
    path = "$" + "".join(f'."{step}"' for step in steps)
    found = table.c.payload.op("->", return_type=sa.Text())(path)
    # SQLite gives back what was written: where the text is nowhere, the payload need not be read as JSON.
    sought = [text for text in written if not any(other != text and other in text for other in written)]
    is_somewhere = sa.or_(*(sa.func.instr(table.c.payload, text) > 0 for text in sought))
    return sa.and_(is_somewhere, sa.cast(found, sa.Text()).in_(written))
