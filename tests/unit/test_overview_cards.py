"""What the cards of the overview say follows from what was read for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.forecast import PlannedJob, forecast
from mainspring.domain.look_back import DEFAULT, LOOKS_BACK, look_back, percentile
from mainspring.domain.schedule import Cron, Every
from mainspring.store.analytics.outcomes import OutcomeCounts
from mainspring.store.queue.queues import QueuePause, StoredQueue
from mainspring.web import forecast_drawing, overview_cards, overview_figure_words
from mainspring.web.overview_figures import Figures, Reading, figures_of

NOW = datetime(2027, 3, 1, 12, 7, tzinfo=UTC)


def read(before: OutcomeCounts, present: OutcomeCounts, durations: tuple[list[int], list[int]] = ([], [])) -> Figures:
    return figures_of(Reading(counts=[before, present], durations=list(durations), queues=[], nodes=[], next_run=None))


def notes(found: Figures) -> dict[str, tuple[str, str, str]]:
    return {
        figure.label: (f"{figure.value}{figure.unit}", figure.note, figure.tone)
        for figure in overview_figure_words.figures(found, DEFAULT, NOW)
    }


@pytest.mark.parametrize(
    ("before", "present", "expected"),
    [
        (OutcomeCounts(), OutcomeCounts(), ("—", "no runs in this time", "")),
        (OutcomeCounts(), OutcomeCounts(succeeded=1), ("100.0%", "nothing to compare with before", "")),
        (OutcomeCounts(succeeded=1), OutcomeCounts(succeeded=2), ("100.0%", "as in the 24 h before", "")),
        (
            OutcomeCounts(succeeded=1, failed=1),
            OutcomeCounts(succeeded=3, failed=1),
            ("75.0%", "+25.0 points to the 24 h before", "ok"),
        ),
        (
            OutcomeCounts(succeeded=4),
            OutcomeCounts(succeeded=3, failed=1),
            ("75.0%", "−25.0 points to the 24 h before", "fail"),
        ),
        (OutcomeCounts(cancelled=9), OutcomeCounts(skipped=9), ("—", "no runs in this time", "")),
    ],
)  # fmt: skip
def test_the_success_rate_is_that_of_runs_that_ended_of_themselves(
    before: OutcomeCounts, present: OutcomeCounts, expected: tuple[str, str, str]
) -> None:
    assert notes(read(before, present))["Success rate, 24 h"] == expected


def test_a_change_of_durations_below_a_twentieth_is_none() -> None:
    one = OutcomeCounts(succeeded=1)
    for before, present, note in (
        ([1000], [1040], "as in the 24 h before"),
        ([1000], [1500], "+500 ms to the 24 h before"),
        ([1500], [1000], "−500 ms to the 24 h before"),
    ):
        assert notes(read(one, one, (before, present)))["Duration p95, 24 h"][1] == note


def test_without_a_worker_the_figure_says_so() -> None:
    assert notes(read(OutcomeCounts(), OutcomeCounts()))["Running"] == ("0", "no worker is running", "fail")


def test_the_fullest_queues_come_first_and_say_why_they_wait() -> None:
    pause = QueuePause(NOW, None, "ada", None)
    found = overview_cards.saturation(
        [
            StoredQueue("idle"),
            StoredQueue("mail", max_running=2, running=2, waiting=5, oldest_seconds=41.0),
            StoredQueue("off", pause=pause, waiting=3, oldest_seconds=7.0),
            StoredQueue("sync", running=4),
        ],
        slots=8,
        most=3,
    )
    assert [(queue.name, queue.mark, queue.note) for queue in found] == [
        ("mail", "at limit", "2/2 slots · 5 waiting, 41 s"),
        ("sync", "", "4/8 slots · nothing waits"),
        ("off", "paused", "0/8 slots · 3 waiting, 7 s"),
    ]


def test_a_drawing_keeps_every_mark_inside_and_marks_what_collides() -> None:
    jobs = [PlannedJob(name, "mail", Cron("0 * * * *"), timedelta(minutes=30)) for name in ("a", "b")]
    jobs.append(PlannedJob("band", "mail", Every(seconds=30)))
    jobs += [PlannedJob(f"job-{number:02}", "other", Cron(f"{number} 13 * * *")) for number in range(20)]
    drawn = forecast_drawing.draw(forecast(jobs, NOW, timedelta(hours=2)), UTC)
    assert len(drawn.lanes) == forecast_drawing.MOST_LANES
    assert drawn.hidden == 23 - forecast_drawing.MOST_LANES
    marks = {row.lane.job.name: row.marks for row in drawn.lanes}
    assert [mark.collides for mark in marks["a"]] == [True, True]
    assert len(marks["band"]) == 1
    for row in drawn.lanes:
        for mark in row.marks:
            assert forecast_drawing.LABELS <= mark.x <= mark.x + mark.width <= forecast_drawing.WIDTH + 0.1
    assert [at.strftime("%H:%M") for _x, at in drawn.hours] == ["12:20", "12:40", "13:00", "13:20", "13:40", "14:00"]


def test_every_span_is_cut_into_even_parts_and_another_key_means_a_day() -> None:
    assert [looked.key for looked in LOOKS_BACK] == ["1h", "6h", "24h", "7d", "30d"]
    assert all(looked.bucket * looked.buckets == looked.span for looked in LOOKS_BACK)
    assert look_back("1e9") is look_back(None) is DEFAULT
    assert [percentile(values, 0.95) for values in ([], [7], list(range(1, 101)))] == [None, 7, 95]
