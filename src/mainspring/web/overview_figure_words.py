"""The six figures on top of the overview, in words: how much, whether that is good news, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.english import in_words
from mainspring.web.look_back_words import IN_WORDS
from mainspring.web.run_links import runs_path, since
from mainspring.web.short_numbers import short_length, short_number
from mainspring.web.words_overview import OVERVIEW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.look_back import LookBack
    from mainspring.web.overview_figures import Figures

_POINT: Final = 0.0005
"""A change of the success rate that would be written as 0.0 points is none."""
_NOTICEABLE: Final = 0.05
"""As is a change of a duration by less than a twentieth."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures on top.

    Attributes:
        label: What it is.
        value: How much.
        unit: Of what.
        note: One thing more: the change, or where it comes from.
        tone: `ok`, `retry` or `fail` where the note is good, doubtful or bad news; empty where it is none.
        icon: The sign before the note.
        path: The list of what it counts.
        values: Its course, None where nothing is known; empty: it has none.
    """

    label: str
    value: str
    unit: str
    note: str
    tone: str
    icon: str
    path: str
    values: Sequence[float | None] = ()


def figures(found: Figures, looked: LookBack, now: datetime) -> list[Figure]:
    """Return the six figures."""
    return [
        _success_rate(found, looked), _running(found), _queued(found), _failed(found, looked), _p95(found, looked),
        _next_run(found, now),
    ]  # fmt: skip


def _success_rate(found: Figures, looked: LookBack) -> Figure:
    course, span = found.success_rate, IN_WORDS[looked.key]
    value = "—" if course.present is None else f"{course.present * 100:.1f}"
    change = course.change
    if course.present is None:
        note, tone, icon = OVERVIEW.no_runs_yet, "", "activity"
    elif change is None:
        note, tone, icon = OVERVIEW.nothing_before, "", "activity"
    elif abs(change) < _POINT:
        note, tone, icon = OVERVIEW.same_as_before.format(range=span), "", "equal"
    elif change > 0:
        note, tone, icon = OVERVIEW.points_more.format(points=f"{change * 100:.1f}", range=span), "ok", "arrow-up-right"
    else:
        points = f"{-change * 100:.1f}"
        note, tone, icon = OVERVIEW.points_less.format(points=points, range=span), "fail", "arrow-down-right"
    unit = "" if course.present is None else "%"
    path = runs_path("status:succeeded,failed", since(looked))
    return Figure(OVERVIEW.success_rate.format(range=span), value, unit, note, tone, icon, path, course.values)


def _running(found: Figures) -> Figure:
    if not found.slots and not found.draining:
        note, tone, icon = OVERVIEW.no_worker, "fail", "alert-triangle"
    elif found.draining:
        note, tone, icon = OVERVIEW.draining.format(count=found.draining), "retry", "player-pause"
    else:
        note, tone, icon = OVERVIEW.of_slots.format(slots=short_number(found.slots)), "", "activity"
    return Figure(
        OVERVIEW.running, short_number(found.running), "", note, tone, icon, runs_path("status:running"), found.ended
    )


def _queued(found: Figures) -> Figure:
    wait = found.oldest_seconds
    note = OVERVIEW.nothing_waits if wait is None else OVERVIEW.oldest_waits.format(wait=short_length(wait))
    path = runs_path("status:queued,retrying")
    return Figure(OVERVIEW.queued, short_number(found.waiting), "", note, "", "hourglass", path)


def _failed(found: Figures, looked: LookBack) -> Figure:
    span, failed = IN_WORDS[looked.key], int(found.failed.present or 0)
    change = int(found.failed.change or 0)
    if not failed:
        note, tone, icon = OVERVIEW.no_failures, "ok", "circle-check"
    elif change > 0:
        note, tone, icon = OVERVIEW.more.format(amount=short_number(change), range=span), "fail", "arrow-up-right"
    elif change < 0:
        note, tone, icon = OVERVIEW.less.format(amount=short_number(-change), range=span), "ok", "arrow-down-right"
    else:
        note, tone, icon = OVERVIEW.same_as_before.format(range=span), "", "equal"
    path = runs_path("status:failed", since(looked))
    label = OVERVIEW.failed.format(range=span)
    return Figure(label, short_number(failed), "", note, tone, icon, path, found.failed.values)


def _p95(found: Figures, looked: LookBack) -> Figure:
    course, span = found.p95, IN_WORDS[looked.key]
    label, path = OVERVIEW.p95.format(range=span), runs_path("status:succeeded,failed", since(looked))
    if course.present is None:
        return Figure(label, "—", "", OVERVIEW.no_runs_yet, "", "activity", path)
    change = course.change
    if change is None:
        note, tone, icon = OVERVIEW.nothing_before, "", "activity"
    elif abs(change) <= _NOTICEABLE * (course.before or 0):
        note, tone, icon = OVERVIEW.same_as_before.format(range=span), "", "equal"
    elif change > 0:
        amount = short_length(change / 1000)
        note, tone, icon = OVERVIEW.more.format(amount=amount, range=span), "retry", "arrow-up-right"
    else:
        amount = short_length(-change / 1000)
        note, tone, icon = OVERVIEW.less.format(amount=amount, range=span), "ok", "arrow-down-right"
    return Figure(label, short_length(course.present / 1000), "", note, tone, icon, path, course.values)


def _next_run(found: Figures, now: datetime) -> Figure:
    if found.next_run is None:
        return Figure(OVERVIEW.next_run, OVERVIEW.none_planned, "", OVERVIEW.nothing_planned, "", "clock", "/schedules")
    name, at = found.next_run
    value = in_words(max(timedelta(0), at - now))
    return Figure(OVERVIEW.next_run, value, "", name, "", "clock-play", "/schedules")
