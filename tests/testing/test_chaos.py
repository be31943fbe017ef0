"""`chaos`: a job that is killed anywhere and run again leaves the same, or the report names the point."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mainspring import Every, JobContext, JobResult, Mainspring, PermanentError, Retry, TransientError
from mainspring.domain.execution import Status
from mainspring.errors import MainspringError
from mainspring.testing import chaos

ACCOUNTS = ["ann", "bob"]


@pytest.fixture
def app() -> Mainspring:
    return Mainspring(log_format="json")


@pytest.fixture
def charges(app: Mainspring) -> list[tuple[str, str]]:
    """What the jobs of these tests leave: two that charge each account once, one of them only while nobody dies."""
    charges: list[tuple[str, str]] = []

    async def charge_all(ctx: JobContext[Any], *, once: bool) -> None:
        done: int = ctx.last_checkpoint or 0
        for number, account in enumerate(ACCOUNTS[done:], start=done + 1):
            charge = (account, str(ctx.execution_id))
            if not (once and charge in charges):
                charges.append(charge)
            await ctx.checkpoint(number)

    @app.job("charge-once")
    async def charge_once(ctx: JobContext[Any]) -> None:
        await charge_all(ctx, once=True)

    @app.job("charge-again")
    async def charge_again(ctx: JobContext[Any]) -> None:
        await charge_all(ctx, once=False)

    return charges


async def test_an_idempotent_job_leaves_the_same_wherever_it_is_killed(
    app: Mainspring, charges: list[tuple[str, str]]
) -> None:
    report = await chaos.run(
        app, "charge-once", effects=lambda: [account for account, _ in charges], reset=charges.clear
    )
    report.assert_same()
    assert report.effects == ACCOUNTS
    assert report.checkpoints == 2
    assert [str(trial.point) for trial in report.trials] == [
        "before its first line",
        "just before checkpoint 1 was kept",
        "just after checkpoint 1 was kept",
        "just before checkpoint 2 was kept",
        "just after checkpoint 2 was kept",
        "after its last line, before its end was kept",
    ]
    assert str(report) == "job 'charge-once' ends alike, wherever it is killed (6 points)"


async def test_the_report_names_the_checkpoints_at_which_effects_differ(
    app: Mainspring, charges: list[tuple[str, str]]
) -> None:
    report = await chaos.run(
        app, "charge-again", effects=lambda: [account for account, _ in charges], reset=charges.clear
    )
    assert [(trial.point.moment, trial.point.checkpoint) for trial in report.differing] == [
        (chaos.Moment.BEFORE_CHECKPOINT, number) for number in (1, 2)
    ]
    with pytest.raises(AssertionError) as told:
        report.assert_same()
    assert "at 2 of 6 points; undisturbed it leaves ['ann', 'bob']" in str(told.value)
    assert "killed just before checkpoint 2 was kept: ['ann', 'bob', 'bob']" in str(told.value)


async def test_a_job_without_checkpoints_is_killed_before_and_after_and_its_schedule_is_silent(app: Mainspring) -> None:
    sent: list[str] = []

    @app.job("mail", schedule=Every(timedelta(hours=1)), schedule_payload={"to": "everybody"})
    def mail(payload: dict[str, str]) -> None:
        sent.append(payload["to"])

    report = await chaos.run(app, "mail", {"to": "ann"}, effects=lambda: sent, reset=sent.clear)
    assert [(trial.point.moment, trial.is_same) for trial in report.trials] == [
        (chaos.Moment.BEGIN, True),
        (chaos.Moment.END, False),
    ]
    assert report.differing[0].effects == ["ann", "ann"]


async def test_no_line_of_a_killed_handler_runs_any_more(app: Mainspring) -> None:
    told: list[str] = []

    @app.job("tidy")
    async def tidy(ctx: JobContext[Any]) -> None:
        try:
            await ctx.checkpoint(1)
        finally:
            told.append("tidied")

    report = await chaos.run(app, "tidy", effects=lambda: told, reset=told.clear)
    assert [trial.point.moment for trial in report.differing] == [chaos.Moment.END]


async def test_retries_of_its_own_go_on_after_a_kill(app: Mainspring) -> None:
    left: set[str] = set()

    @app.job("flaky", retry=Retry(max_retries=3))
    async def flaky(ctx: JobContext[Any]) -> JobResult:
        await ctx.checkpoint(ctx.attempt)
        if ctx.attempt < 3:
            raise TransientError("busy")
        left.add("done")
        return JobResult(items_processed=1)

    (await chaos.run(app, "flaky", effects=lambda: left, reset=left.clear)).assert_same()


async def test_a_job_that_does_not_succeed_the_second_time_is_told_with_its_status(app: Mainspring) -> None:
    @app.job("once")
    async def once(ctx: JobContext[Any]) -> None:
        if ctx.attempt > 1:
            raise PermanentError("the file is there already")

    report = await chaos.run(app, "once", effects=lambda: None)
    assert [trial.status for trial in report.trials] == [Status.FAILED, Status.FAILED]
    assert "before its first line: None, and it failed" in str(report)


async def test_effects_that_are_not_taken_back_are_told(app: Mainspring, charges: list[tuple[str, str]]) -> None:
    with pytest.raises(MainspringError, match=r"Give `chaos\.run` a `reset` that"):
        await chaos.run(app, "charge-once", effects=lambda: charges)


async def test_effects_may_be_asynchronous_and_are_those_of_their_instant(app: Mainspring) -> None:
    rows: list[int] = []

    @app.job("insert")
    async def insert() -> None:
        if not rows:
            rows.append(1)

    async def effects() -> list[int]:
        return rows

    async def reset() -> None:
        rows.clear()

    report = await chaos.run(app, "insert", effects=effects, reset=reset)
    report.assert_same()
    assert report.effects == [1]


async def test_a_job_that_does_not_succeed_undisturbed_is_refused(app: Mainspring) -> None:
    @app.job("broken")
    async def broken() -> None:
        raise PermanentError("no such table")

    with pytest.raises(MainspringError, match="failed, no such table"):
        await chaos.run(app, "broken", effects=lambda: None)
