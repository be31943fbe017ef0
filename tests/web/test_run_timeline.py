"""The timeline of a run: what it waited for, in its order, and whom its end was told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from mainspring.domain.execution import Attempt, Execution, Outcome, Status, Trigger
from mainspring.domain.notification import Message, Notification, NotificationStatus, Severity
from mainspring.store.runs.run_wait_reasons import Span, Waits
from mainspring.web.run_timeline import timeline

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
RUN_ID = UUID(int=1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def run(status: Status, **said: object) -> Execution:
    facts = {
        "id": RUN_ID, "environment": "dev", "job_name": "digest", "queue": "default", "status": status,
        "priority": 0, "payload": None, "trigger": Trigger.CRON, "created_at": START, "updated_at": START,
    }  # fmt: skip
    return Execution(**(facts | said))  # type: ignore[arg-type]


def attempt(number: int, began: float, ended: float | None, outcome: Outcome | None) -> Attempt:
    return Attempt(RUN_ID, number, number, None, at(began), None if ended is None else at(ended), outcome)


def callback(status: NotificationStatus, delivered: float | None = None, attempts: int = 1) -> Notification:
    return Notification(
        UUID(int=2), "dev", "webhook", "https://example.com", Message("digest", Severity.INFO), status, attempts,
        at(100), at(130), delivered_at=None if delivered is None else at(delivered),
    )  # fmt: skip


def bars(
    drawn_run: Execution, attempts: list[Attempt], waits: Waits, *callbacks: Notification
) -> list[tuple[str, float]]:
    drawn = timeline(drawn_run, attempts, at(200), waits, callbacks)
    return [(bar.label, bar.milliseconds / 1000) for bar in drawn.bars]


def test_each_wait_before_the_first_attempt_begins_where_the_one_before_ends() -> None:
    planned = run(Status.SUCCEEDED, scheduled_at=at(10), completed_at=at(100))
    waits = Waits(parents_until=at(25), limit_until=at(45), limit=1)
    assert bars(planned, [attempt(1, 50, 100, Outcome.SUCCEEDED)], waits) == [
        ("Planned", 10),
        ("Other runs", 15),
        ("Limit", 20),
        ("Queued", 5),
        ("Attempt 1", 50),
    ]


def test_a_run_that_waits_for_its_limit_has_waited_for_nothing_else_so_far() -> None:
    assert bars(run(Status.QUEUED), [], Waits(limit_until=at(200), limit=1)) == [("Limit", 200), ("Queued", 0)]


def test_a_wait_for_a_lock_stands_under_the_attempt_that_it_belongs_to() -> None:
    attempts = [attempt(1, 10, 40, Outcome.FAILED), attempt(2, 60, 100, Outcome.SUCCEEDED)]
    waits = Waits(locks=[Span(at(12), at(20)), Span(at(50), at(70))])
    assert bars(run(Status.SUCCEEDED, completed_at=at(100)), attempts, waits) == [
        ("Queued", 10),
        ("Attempt 1", 30),
        ("Lock wait", 8),
        ("Back-off", 20),
        ("Attempt 2", 40),
        ("Lock wait", 10),
    ]


def test_callbacks_stand_at_the_end_with_what_became_of_them() -> None:
    ended = run(Status.SUCCEEDED, completed_at=at(100))
    told = (
        callback(NotificationStatus.DELIVERED, delivered=110, attempts=2),
        callback(NotificationStatus.DEAD),
        callback(NotificationStatus.PENDING),
    )
    drawn = timeline(ended, [attempt(1, 0, 100, Outcome.SUCCEEDED)], at(200), Waits(), told)
    assert [(bar.label, bar.state, bar.milliseconds / 1000, bar.note) for bar in drawn.bars[2:]] == [
        ("Callback", "succeeded", 10, "2 tries"),
        ("Callback", "failed", 30, ""),
        ("Callback", "running", 100, ""),
    ]
