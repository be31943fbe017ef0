"""What each card of the overview says, made of what was read for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.alert import Severity
from mainspring.web.forecast_drawing import AXIS, LABELS, WIDTH, draw
from mainspring.web.look_back_words import IN_WORDS
from mainspring.web.run_links import runs_path, since, term
from mainspring.web.short_numbers import short_length, short_number
from mainspring.web.words_overview import OVERVIEW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from mainspring.domain.alert import Alert
    from mainspring.domain.forecast import Forecast, Lane
    from mainspring.domain.look_back import LookBack
    from mainspring.store.analytics.failure_groups import FailureGroup
    from mainspring.store.analytics.outcomes import OutcomeCounts
    from mainspring.store.queue.queues import StoredQueue
    from mainspring.web.forecast_drawing import Mark

MOST_SENTENCES: Final = 3
IN_A_ROW: Final = 3
_SEVERITY: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


def throughput(counts: Sequence[OutcomeCounts], looked: LookBack, now: datetime, zone: tzinfo) -> dict[str, Any]:
    """Return the chart of how runs ended, its summary in one sentence, and the same as a table."""
    form = "%H:%M" if looked.bucket.days == 0 and looked.span.days <= 1 else "%d %b %H:%M"
    start = now - looked.span
    labels = [(start + looked.bucket * place).astimezone(zone).strftime(form) for place in range(len(counts))]
    series = [
        {"name": words, "tone": tone, "color": f"--ms-{tone}", "values": [getattr(count, field) for count in counts]}
        for words, tone, field in (
            (OVERVIEW.succeeded, "ok", "succeeded"),
            (OVERVIEW.cancelled, "cancel", "cancelled"),
            (OVERVIEW.skipped, "skip", "skipped"),
            (OVERVIEW.failed_runs, "fail", "failed"),
        )
    ]
    return {
        "series": series,
        "labels": labels,
        "chart": json.dumps({"labels": labels, "series": series}),
        "summary": _throughput_summary(counts, labels, looked),
    }


def _throughput_summary(counts: Sequence[OutcomeCounts], labels: Sequence[str], looked: LookBack) -> str:
    totals = [count.total for count in counts]
    span = IN_WORDS[looked.key]
    if not any(totals):
        return OVERVIEW.throughput_none.format(range=span)
    return OVERVIEW.throughput_summary.format(
        total=short_number(sum(totals)),
        range=span,
        succeeded=short_number(sum(count.succeeded for count in counts)),
        failed=short_number(sum(count.failed for count in counts)),
        cancelled=short_number(sum(count.cancelled for count in counts)),
        skipped=short_number(sum(count.skipped for count in counts)),
        busiest=labels[totals.index(max(totals))],
    )


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group of failures, with how it is told and the list of its runs."""

    group: FailureGroup
    times: str
    note: str
    path: str


def failures(groups: Sequence[FailureGroup], looked: LookBack) -> dict[str, Any]:
    """Return what failed, grouped by error."""
    span = IN_WORDS[looked.key]
    return {
        "groups": [ShownGroup(group, *_told(group, looked)) for group in groups],
        "all_path": runs_path("status:failed", since(looked)),
        "all_words": OVERVIEW.failures_all.format(range=span),
        "none_hint": OVERVIEW.failures_none_hint.format(range=span),
    }


def _told(group: FailureGroup, looked: LookBack) -> tuple[str, str, str]:
    terms = ["status:failed", term("job", group.job_name), since(looked)]
    if group.fingerprint is not None:
        terms.append(term("fingerprint", group.fingerprint))
    if group.has_recovered:
        note = OVERVIEW.failures_recovered
    elif group.in_a_row > 1:
        note = OVERVIEW.failures_in_a_row.format(count=group.in_a_row)
    else:
        note = ""
    return OVERVIEW.failures_times.format(count=short_number(group.count)), note, runs_path(*terms)


def planned(found: Forecast, zone: tzinfo) -> dict[str, Any]:
    """Return the forecast as a drawing, with what is worth knowing of it in words."""
    drawing = draw(found, zone)

    def clock(at: datetime) -> str:
        return at.astimezone(zone).strftime("%H:%M")

    def title_of(lane: Lane, mark: Mark) -> str:
        name = lane.job.name
        if lane.is_band:
            return OVERVIEW.forecast_band.format(name=name)
        if lane.job.usual is None:
            return OVERVIEW.forecast_unknown.format(name=name, at=clock(mark.at))
        return OVERVIEW.forecast_usual.format(name=name, at=clock(mark.at), usual=usual_of(lane))

    def usual_of(lane: Lane) -> str:
        return "" if lane.job.usual is None else short_length(lane.job.usual.total_seconds())

    def instants_of(lane: Lane) -> str:
        if lane.is_band:
            return OVERVIEW.forecast_band.format(name=lane.job.name)
        return ", ".join(map(clock, lane.instants))

    meetings = [
        OVERVIEW.collision.format(names=", ".join(meeting.names), at=clock(meeting.at)) for meeting in found.collisions
    ]
    busiest = found.busiest
    return {
        "drawing": drawing,
        "width": WIDTH,
        "labels": LABELS,
        "axis": AXIS,
        "title_of": title_of,
        "instants_of": instants_of,
        "usual_of": usual_of,
        "planned_words": OVERVIEW.forecast_count.format(count=found.runs),
        "busiest_words": busiest and OVERVIEW.forecast_busiest.format(at=clock(busiest.at), count=len(busiest.names)),
        "collisions": meetings and OVERVIEW.collisions.format(list="; ".join(meetings[:MOST_SENTENCES])),
        "hidden_words": drawing.hidden and OVERVIEW.forecast_more.format(count=drawing.hidden),
    }


@dataclass(frozen=True, slots=True)
class ShownQueue:
    """A queue with its load in words."""

    name: str
    running: int
    limit: int
    note: str
    mark: str
    mark_icon: str
    label: str
    path: str


def saturation(found: Sequence[StoredQueue], slots: int, most: int) -> list[ShownQueue]:
    """Return the queues that are fullest, the fullest first.

    Args:
        found: All queues.
        slots: How many runs the nodes have room for, which is the limit of a queue that has none.
        most: How many queues at most.
    """
    shown = [_shown_queue(queue, slots) for queue in found]
    waiting = {queue.name: queue.waiting for queue in found}
    shown.sort(key=lambda queue: (-queue.running / queue.limit, -waiting[queue.name], queue.name))
    return shown[:most]


def _shown_queue(queue: StoredQueue, slots: int) -> ShownQueue:
    limit = max(1, slots if queue.max_running is None else queue.max_running)
    waits = OVERVIEW.queues_idle
    if queue.oldest_seconds is not None:
        wait = short_length(queue.oldest_seconds)
        waits = OVERVIEW.queues_waiting.format(waiting=short_number(queue.waiting), wait=wait)
    mark, icon = "", ""
    if queue.pause is not None:
        mark, icon = OVERVIEW.queues_paused, "player-pause"
    elif queue.waiting and queue.running >= limit:
        mark, icon = OVERVIEW.queues_at_limit, "alert-circle"
    return ShownQueue(
        name=queue.name,
        running=queue.running,
        limit=limit,
        note=f"{OVERVIEW.queues_slots.format(running=queue.running, limit=limit)} · {waits}",
        mark=mark,
        mark_icon=icon,
        label=OVERVIEW.queues_busy.format(queue=queue.name, running=queue.running, limit=limit),
        path=runs_path(term("queue", queue.name), "status:queued,running,retrying"),
    )


def attention(found: Sequence[Alert]) -> dict[str, Any]:
    """Return the open alerts that nobody has taken yet, the worst ones in words."""
    worst = sorted(found, key=lambda alert: -_SEVERITY[alert.severity])
    return {
        "sentences": [alert.sentence for alert in worst[:MOST_SENTENCES]],
        "more": _more(len(found)),
        "link": None,
    }


def failing(found: Sequence[FailureGroup]) -> dict[str, Any]:
    """Return the jobs that fail again and again, for as long as no alert says so."""
    again = {group.job_name: group for group in found if group.in_a_row >= IN_A_ROW}
    sentences = [
        OVERVIEW.failing_in_a_row.format(job=group.job_name, count=group.in_a_row, message=group.message)
        for group in again.values()
    ]
    return {"sentences": sentences[:MOST_SENTENCES], "more": _more(len(sentences)), "link": runs_path("status:failed")}


def _more(count: int) -> str:
    return OVERVIEW.attention_more.format(count=count - MOST_SENTENCES) if count > MOST_SENTENCES else ""
