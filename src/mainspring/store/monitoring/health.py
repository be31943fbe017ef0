"""How each job is doing, as the monitor found it: one row for each job, written in batches, read by everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.alert import AlertRule
from mainspring.domain.baseline import Baseline, Usual
from mainspring.domain.health import Health, HealthState
from mainspring.domain.rules.watched_job import Streak
from mainspring.domain.trend import Line
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import job_health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

_health = job_health.c


@dataclass(frozen=True, slots=True)
class JobHealth:
    """How a job is doing, and since when.

    Attributes:
        health: The state, with what made it.
        since: When it came into that state.
        last_run_at: When its last run that has ended began.
        last_success_at: When it last succeeded.
        last_failure_at: When it last failed.
        streak: How its latest runs went.
        breached: The rules that it breaks.
        evaluated_at: When all this was found.
    """

    job_name: str
    health: Health
    since: datetime
    last_run_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    streak: Streak
    breached: frozenset[AlertRule]
    evaluated_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """What the monitor found of a job in one turn.

    Attributes:
        longest_seconds: Its threshold of execution time.
    """

    job_name: str
    health: Health
    last_run_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    streak: Streak
    breached: Collection[AlertRule]
    longest_seconds: float | None = None


_SHOWN: Final = tuple(column for column in _health if column.name not in {"baseline", "baseline_at"})
_ALL = sa.select(*_SHOWN).where(_health.environment == sa.bindparam("environment")).order_by(_health.job_name)
_NAMED = sa.select(*_SHOWN).where(_health.environment == sa.bindparam("environment"), one_of(_health.job_name, "names"))


def find(connection: sa.Connection, environment: str, names: Collection[str] | None = None) -> dict[str, JobHealth]:
    """Return how jobs are doing, by name.

    Args:
        connection: Where to read.
        environment: The environment.
        names: Which jobs; None: all of them. What the monitor has not seen yet is missing.
    """
    if names is None:
        rows = connection.execute(_ALL, {"environment": environment})
    else:
        rows = connection.execute(_NAMED, {"environment": environment, "names": list(names)})
    return {row.job_name: _job_health(row) for row in rows}


def _job_health(row: Any) -> JobHealth:  # noqa: ANN401 - a row of either driver
    return JobHealth(
        job_name=row.job_name,
        health=Health(
            state=HealthState(row.state),
            sentence=row.sentence,
            rule=None if row.rule is None else AlertRule(row.rule),
            figures=orjson.loads(row.figures),
            stale_at=row.stale_at,
            look_at=row.look_at,
        ),
        since=row.since,
        last_run_at=row.last_run_at,
        last_success_at=row.last_success_at,
        last_failure_at=row.last_failure_at,
        streak=Streak(row.consecutive_failures, row.consecutive_successes),
        breached=frozenset(AlertRule(rule) for rule in orjson.loads(row.breached)),
        evaluated_at=row.evaluated_at,
    )


_WRITTEN: Final = (
    "state", "rule", "sentence", "figures", "stale_at", "look_at", "last_run_at", "last_success_at", "last_failure_at",
    "consecutive_failures", "consecutive_successes", "longest_seconds", "breached",
)  # fmt: skip


def _writing(insert: Any) -> sa.Executable:  # noqa: ANN401 - an insert of either dialect
    new = {name: sa.bindparam(name, type_=_health[name].type) for name in ("environment", "job_name", *_WRITTEN)}
    inserted = insert.values(**new, since=store_now(), evaluated_at=store_now())
    changed = {name: inserted.excluded[name] for name in (*_WRITTEN, "evaluated_at")}
    since = sa.case((_health.state == inserted.excluded.state, _health.since), else_=inserted.excluded.since)
    return inserted.on_conflict_do_update(
        index_elements=[_health.environment, _health.job_name], set_={**changed, "since": since}
    )


_WRITE: Final = {"postgresql": _writing(postgresql.insert(job_health)), "sqlite": _writing(sqlite.insert(job_health))}
_FORGET = sa.delete(job_health).where(
    _health.environment == sa.bindparam("environment"), one_of(_health.job_name, "names")
)


def write(connection: sa.Connection, environment: str, findings: Sequence[Finding]) -> None:
    """Keep what was found; a state that has not changed keeps its `since`."""
    if findings:
        rows = [{"environment": environment, **_row(finding)} for finding in findings]
        connection.execute(_WRITE[connection.dialect.name], rows)


def forget(connection: sa.Connection, environment: str, names: Sequence[str]) -> None:
    """Remove jobs that code no longer declares."""
    if names:
        connection.execute(_FORGET, {"environment": environment, "names": list(names)})


def _row(finding: Finding) -> dict[str, Any]:
    health = finding.health
    return {
        "job_name": finding.job_name,
        "state": health.state.value,
        "rule": None if health.rule is None else health.rule.value,
        "sentence": health.sentence,
        "figures": orjson.dumps(dict(health.figures)).decode(),
        "stale_at": health.stale_at,
        "look_at": health.look_at,
        "last_run_at": finding.last_run_at,
        "last_success_at": finding.last_success_at,
        "last_failure_at": finding.last_failure_at,
        "consecutive_failures": finding.streak.failures,
        "consecutive_successes": finding.streak.successes,
        "longest_seconds": finding.longest_seconds,
        "breached": orjson.dumps(sorted(finding.breached)).decode(),
    }


_BASELINES = sa.select(_health.job_name, _health.baseline, _health.baseline_at).where(
    _health.environment == sa.bindparam("environment"), one_of(_health.job_name, "names")
)
_KEEP_BASELINE = (
    sa.update(job_health)
    .where(_health.environment == sa.bindparam("b_environment"), _health.job_name == sa.bindparam("b_name"))
    .values(baseline=sa.bindparam("b_baseline"), baseline_at=store_now())
)


def baselines(
    connection: sa.Connection, environment: str, names: Sequence[str]
) -> dict[str, tuple[Baseline | None, datetime | None]]:
    """Return what is usual for jobs, and when that was last computed."""
    rows = connection.execute(_BASELINES, {"environment": environment, "names": list(names)})
    return {row.job_name: (row.baseline and _baseline(orjson.loads(row.baseline)), row.baseline_at) for row in rows}


def keep_baselines(connection: sa.Connection, environment: str, computed: Mapping[str, Baseline]) -> None:
    """Keep what is usual for jobs."""
    rows = [
        {"b_environment": environment, "b_name": name, "b_baseline": orjson.dumps(_as_json(baseline)).decode()}
        for name, baseline in computed.items()
    ]
    if rows:
        connection.execute(_KEEP_BASELINE, rows)


def _as_json(baseline: Baseline) -> dict[str, Any]:
    return {
        "durations": [[hour, *_figures(usual)] for hour, usual in baseline.durations.items()],
        "items": [[hour, *_figures(usual)] for hour, usual in baseline.items.items()],
        "gaps": None if baseline.gaps is None else _figures(baseline.gaps),
        "failures": baseline.failures,
        "runs": baseline.runs,
        "trend": None if baseline.trend is None else [baseline.trend.slope, baseline.trend.intercept],
        "days": baseline.days,
    }


def _figures(usual: Usual) -> list[float]:
    return [usual.middle, usual.spread, usual.samples]


def _baseline(kept: Mapping[str, Any]) -> Baseline:
    return Baseline(
        durations={hour: Usual(*figures) for hour, *figures in kept["durations"]},
        items={hour: Usual(*figures) for hour, *figures in kept["items"]},
        gaps=kept["gaps"] and Usual(*kept["gaps"]),
        failures=kept["failures"],
        runs=kept["runs"],
        trend=kept["trend"] and Line(*kept["trend"]),
        days=kept["days"],
    )
