"""What the page of one run shows, read in one transaction and put into words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from mainspring.domain.access import Permission
from mainspring.domain.execution import Attempt, Execution, Status
from mainspring.domain.run_filter import read_filter
from mainspring.store.alerting import notifications
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.store.runs import executions, recent_runs, run_search, run_wait_reasons
from mainspring.store.runs.run_search_conditions import RunSearch
from mainspring.web.clock import duration_words
from mainspring.web.run_error import ShownError, shown_error
from mainspring.web.run_events import events
from mainspring.web.run_links import runs_address, runs_path, term
from mainspring.web.run_rows import shown_run, usual_duration
from mainspring.web.run_timeline import timeline
from mainspring.web.run_value import as_json, tree, visible
from mainspring.web.words_run import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.notification import Notification
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Connection
    from mainspring.store.runs.recent_runs import RecentRun
    from mainspring.store.runs.run_wait_reasons import Waits
    from mainspring.web.visit import PageVisit

_MOST_ALIKE: Final = 100
_MOST_ENTRIES: Final = 100
TABS: Final = ("logs", "error", "payload", "result", "events")


@dataclass(frozen=True, slots=True)
class Found:
    """A run with what belongs to it.

    Attributes:
        run: It.
        attempts: Its attempts, the first one first.
        entries: What the audit says of it.
        recent: The last runs of its job.
        alike: How many runs failed with its error of late, at most 100.
        waits: For what it has waited.
        callbacks: Whom its end is told to.
        older: The run of its job before it.
        newer: The run of its job after it.
    """

    run: Execution
    attempts: list[Attempt]
    entries: list[AuditEntry]
    recent: Sequence[RecentRun]
    alike: int
    waits: Waits
    callbacks: Sequence[Notification]
    older: UUID | None
    newer: UUID | None


def read_run(connection: Connection, scope: Scope, run_id: UUID, now: datetime) -> Found | None:
    """Return a run that a scope sees, with what belongs to it; None: it sees none of this id."""
    run = executions.get(connection, scope, run_id)
    if run is None:
        return None
    wanted = WantedEntries(target_kind="execution", target_id=str(run.id))
    same_job = RunSearch(read_filter(""), now, UTC, names=(run.job_name,))
    older = run_search.page(connection, scope, same_job, size=1, before=run.id).runs
    newer = run_search.page(connection, scope, same_job, size=1, after=run.id).runs
    attempts = executions.earlier_attempts(connection, run)
    began = next((attempt.started_at for attempt in attempts if attempt.started_at is not None), None)
    return Found(
        run=run,
        attempts=attempts,
        waits=run_wait_reasons.of_run(connection, run, began, now),
        callbacks=notifications.of_execution(connection, run),
        entries=audit_pages.page(connection, scope, wanted, most=_MOST_ENTRIES),
        recent=recent_runs.find(connection, scope, [run.job_name])[run.job_name],
        alike=_alike(connection, scope, run, now),
        older=older[0].id if older else None,
        newer=newer[0].id if newer else None,
    )


def _alike(connection: Connection, scope: Scope, run: Execution, now: datetime) -> int:
    fingerprint = (run.error or {}).get("fingerprint")
    if not fingerprint:
        return 0
    wanted = read_filter(_alike_text(str(fingerprint)))
    return len(run_search.ids(connection, scope, RunSearch(wanted, now, UTC), most=_MOST_ALIKE))


def _alike_text(fingerprint: str) -> str:
    return f"{term('fingerprint', fingerprint)} ended:<24h"


def shown_page(visit: PageVisit, found: Found, tab: str) -> dict[str, Any]:
    """Return what the templates show of a run."""
    run, now = found.run, visit.now
    registry = visit.services.app.registry
    sensitive = registry.get(run.job_name).definition.sensitive if run.job_name in registry else ()
    payload, result = visible(run.payload, sensitive), visible(run.result)
    error = shown_error(run.error or next((each.error for each in reversed(found.attempts) if each.error), None))
    usual = usual_duration(found.recent)
    shown = shown_run(run, usual, now)
    return {
        "text": RUN,
        "run": run,
        "shown": shown,
        "tab": tab if tab in TABS else ("error" if run.status is Status.FAILED and error else "logs"),
        "tabs": [(name, getattr(RUN, name)) for name in TABS],
        "no_cancel": _no_cancel(run),
        "no_retry": _no_retry(run),
        "eta": _left(run, shown.duration_ms, usual),
        "timeline": timeline(run, found.attempts, now, found.waits, found.callbacks),
        "attempts": found.attempts,
        "error": error,
        "alike": found.alike,
        "alike_path": runs_path(_alike_text(error.fingerprint)) if error else "",
        "replay_path": _replay_path(visit, run, error),
        "job_path": runs_path(term("job", run.job_name)),
        "payload": None if run.payload is None else tree(payload),
        "payload_text": as_json(payload, indented=True),
        "result": None if run.result is None else tree(result),
        "result_text": as_json(result, indented=True),
        "events": events(run, found.attempts, found.entries),
        "strip": _strip(found.recent),
        "usual": usual,
        "slowest": _nearest_rank(found.recent),
        "compared": RUN.compared_words[_compared(shown.duration_ms, usual, _nearest_rank(found.recent))],
        "older": f"/runs/{found.older}" if found.older else None,
        "newer": f"/runs/{found.newer}" if found.newer else None,
        "again": f"/run-a-job?{urlencode({'again': str(run.id)})}",
    }


def _replay_path(visit: PageVisit, run: Execution, error: ShownError | None) -> str | None:
    """Return the dialog that replays all that failed as a run did; None: it has not failed, or the role never can."""
    if run.status is not Status.FAILED or error is None or not error.fingerprint:
        return None
    if not (visit.is_staff and visit.can(Permission.WRITE_ADMIN_SETTINGS)):
        return None
    return runs_address("/repair/replays/start", job=run.job_name, fingerprint=error.fingerprint)


def _no_cancel(run: Execution) -> str:
    if run.can_cancel:
        return RUN.stopping if run.cancel_requested else ""
    return RUN.no_cancel


def _no_retry(run: Execution) -> str:
    if run.can_retry:
        return ""
    is_used_up = run.status is Status.FAILED
    return RUN.no_retry_left.format(most=run.max_retries) if is_used_up else RUN.no_retry_status


def _left(run: Execution, duration_ms: float | None, usual_ms: float | None) -> str:
    """Return how long a run still takes: by its progress where it tells one, else by what is usual."""
    if run.status is not Status.RUNNING or not duration_ms:
        return ""
    percent = run.progress.percent
    left = duration_ms * (100 - percent) / percent if percent else (usual_ms or 0) - duration_ms
    return RUN.eta.format(duration=duration_words(left)) if left > 0 else ""


def _strip(recent: Sequence[RecentRun]) -> list[dict[str, Any]]:
    longest = max((run.duration_ms or 0 for run in recent), default=0) or 1
    return [
        {
            "state": run.status.value,
            "height": (run.duration_ms or 0) / longest,
            "words": f"{run.status.value}, {duration_words(run.duration_ms)}",
        }
        for run in recent
    ]


def _nearest_rank(recent: Sequence[RecentRun]) -> int | None:
    known = sorted(run.duration_ms for run in recent if run.duration_ms is not None)
    return known[max(0, -(-len(known) * 19 // 20) - 1)] if known else None


def _compared(duration_ms: float | None, usual: float | None, slowest: float | None) -> str:
    if duration_ms is None or not usual:
        return ""
    if slowest is not None and duration_ms > slowest:
        return "slow"
    return "long" if duration_ms > 1.5 * usual else "short" if duration_ms < usual / 1.5 else "usual"
