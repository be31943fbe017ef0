"""Which ends Sentry is told of, and when; what it is told is in `tests/unit/test_sentry.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest
import sentry_sdk
import sqlalchemy as sa

from mainspring import Cron, Mainspring
from mainspring.control.callbacks import Callbacks, TokenHolder
from mainspring.domain.access import Actor
from mainspring.domain.execution import Trigger
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.sentry import Sentry
from mainspring.remote.protocol import CallbackResult
from mainspring.runtime.attempt import Attempt, prepare
from mainspring.runtime.attempt_end import ending_of
from mainspring.runtime.error_tracking import ErrorTracking
from mainspring.runtime.overdue_work import OverdueWork
from mainspring.store.jobs import registration
from mainspring.store.queue import claims, service_attempts
from mainspring.store.queue.claimed import ClaimedExecution
from mainspring.store.queue.service_attempts import HandOver
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import executions_live
from tests.sentry_transport import Broken, Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mainspring.jobs.context import JobContext, LogLine
    from mainspring.store.queue.finishes import Finish, Release


class Bench:
    """The tracking of a node, and attempts that fail."""

    def __init__(self, app: Mainspring, kept: Kept) -> None:
        self.app = app
        self.kept = kept
        self.tracking = ErrorTracking(Sentry(), app.opened.database, "dev")

    def attempt(self, *, retry_count: int = 3, trigger: Trigger = Trigger.API) -> Attempt:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        claimed = ClaimedExecution(
            id=UUID(int=7), job_name="digest", queue="default", organization_id=None, user_id=None, attempt=4, fence=9,
            retry_count=retry_count, lost_count=0, max_retries=3, payload=None, priority=0, trigger=trigger,
            created_at=now, available_at=now, scheduled_at=None, scheduled_for=None, limit_key=None, isolate=False,
            checkpoint=None, trace_context=None,
        )  # fmt: skip
        return prepare(claimed, self.app.registry.get("digest"), sink=Silence(), node="a")

    async def failed_attempt(self, *, retry_count: int = 3) -> tuple[Attempt, JobRun[object], Finish | Release]:
        attempt = self.attempt(retry_count=retry_count)
        run: JobRun[object] = JobRun(attempt.identity)
        with self.tracking.watching(attempt):
            await Harness().carry_out(run, digest)
            end = ending_of(attempt, run, chance=0.5)
            self.tracking.ended(attempt, run, end)
        return attempt, run, end


def digest() -> None:
    raise LookupError("letter 12")


class Silence:
    """A sink that keeps nothing."""

    def log(self, context: JobContext[Any], line: LogLine) -> None: ...

    def progressed(self, context: JobContext[Any]) -> None: ...

    def beat(self, context: JobContext[Any]) -> None: ...

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None: ...


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    app = Mainspring(database_url="sqlite://")
    app.job("digest", schedule=Cron("0 9 * * *"))(digest)
    kept = Kept()
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=kept, default_integrations=False)
    async with app.connected():
        firing = Firing.by(app.world, app.settings.environment)
        await app.opened.database.tx(lambda connection: registration.register(connection, firing, app.registry))
        yield Bench(app, kept)
    sentry_sdk.get_global_scope().set_client(None)  # it is one of the whole process


async def test_a_failure_is_told_when_its_end_is_written_and_not_before(bench: Bench) -> None:
    _, _, end = await bench.failed_attempt()
    before = list(bench.kept.told)
    bench.tracking.written([end])
    bench.tracking.written([end])

    (event,) = bench.kept.told
    assert before == []
    assert event["exception"]["values"][0]["type"] == "LookupError"


async def test_an_end_that_the_store_refuses_is_not_told(bench: Bench) -> None:
    _, _, end = await bench.failed_attempt()
    bench.tracking.refused([end])
    bench.tracking.written([end])

    assert bench.kept.told == []


async def test_nothing_is_told_of_a_lease_that_is_lost(bench: Bench) -> None:
    _, _, end = await bench.failed_attempt()
    bench.tracking.forget()
    bench.tracking.written([end])

    assert bench.kept.told == []


async def test_an_attempt_that_was_given_up_is_told_once(bench: Bench) -> None:
    attempt, run, end = await bench.failed_attempt()
    bench.tracking.written([end])
    attempt.ended = True
    bench.tracking.ended(attempt, run, end)  # the handler came back after all
    bench.tracking.written([end])

    assert len(bench.kept.told) == 1


async def test_a_try_that_is_repeated_is_not_told(bench: Bench) -> None:
    _, _, end = await bench.failed_attempt(retry_count=0)
    bench.tracking.written([end])

    assert bench.kept.told == []


async def test_an_execution_that_died_with_its_node_is_told(bench: Bench) -> None:
    bench.tracking.lost("digest", UUID(int=7), "b")

    (event,) = bench.kept.told
    assert event["tags"]["error.code"] == "POISON"
    assert (event["tags"]["job"], event["tags"]["execution"], event["tags"]["node"]) == (
        "digest",
        str(UUID(int=7)),
        "b",
    )


async def test_a_hook_of_the_host_that_raises_fails_no_job(bench: Bench) -> None:
    def broken(_told: object, _hint: object) -> None:
        raise RuntimeError("of the host's own hook")

    sentry_sdk.init(
        dsn="https://key@sentry.example/1", transport=Broken(), before_breadcrumb=broken, default_integrations=False
    )
    attempt, _, end = await bench.failed_attempt()
    with bench.tracking.watching(attempt):
        attempt.context.log("the job goes on")
    bench.tracking.written([end])


async def test_a_monitor_watches_the_schedule_that_an_admin_has_set(bench: Bench) -> None:
    await bench.app.schedules.set_cron(Actor.application("dev"), "digest", "30 4 * * *", timezone="Europe/Paris")
    attempt = bench.attempt(trigger=Trigger.CRON)
    with bench.tracking.watching(attempt):
        await bench.tracking.started(attempt)

    (check_in,) = bench.kept.told
    assert check_in["monitor_config"]["schedule"] == {"type": "crontab", "value": "30 4 * * *"}
    assert check_in["monitor_config"]["timezone"] == "Europe/Paris"


# Work that services have accepted ------------------------------------------------------------------------------------


async def accept(bench: Bench, *, lease_seconds: float, max_retries: int = 0) -> tuple[UUID, TokenHolder]:
    """Let a service accept the run of a schedule."""
    database, world = bench.app.opened.database, bench.app.world
    execution_id = (await bench.app.enqueue("digest", max_retries=max_retries)).id
    await database.tx(lambda connection: connection.execute(sa.update(executions_live).values(trigger="cron")))
    request = claims.ClaimRequest("dev", world.new_id(), ["digest"], [claims.QueueCursor("default")], 5)
    (claimed,) = await database.tx(lambda connection: claims.claim(connection, request, 1))
    news = HandOver(claimed.id, claimed.fence, lease_seconds, 300.0)
    await database.tx(lambda connection: service_attempts.hand_over(connection, [news]))
    return execution_id, TokenHolder(claimed.id, claimed.fence)


def callbacks_of(bench: Bench) -> Callbacks:
    opened, app = bench.app.opened, bench.app
    return Callbacks(
        opened.database,
        opened.signals,
        world=app.world,
        lease=timedelta(seconds=60),
        metrics=app.metrics,
        log_writer=LogWriter(log_format=app.settings.log_format),
        sentry=Sentry(),
    )


REFUSED: dict[str, Any] = {
    "success": False,
    "error": {"type": "SmtpError", "code": "MAIL", "message": "no such letter"},
}


async def test_a_failure_that_a_service_tells_of_is_one_event_and_ends_the_check_in(bench: Bench) -> None:
    execution_id, holder = await accept(bench, lease_seconds=60)
    said = CallbackResult.from_bytes(orjson.dumps(REFUSED))
    for _ in range(2):  # services tell until they are heard
        await callbacks_of(bench).complete(holder, said)

    event, check_in = bench.kept.told
    assert event["exception"]["values"][0]["value"] == "no such letter"
    assert event["tags"]["execution"] == str(execution_id)
    assert (check_in["check_in_id"], check_in["status"]) == (execution_id.hex, "error")


async def test_a_failure_in_a_service_that_is_tried_again_is_not_told(bench: Bench) -> None:
    _, holder = await accept(bench, lease_seconds=60, max_retries=3)
    await callbacks_of(bench).complete(holder, CallbackResult.from_bytes(orjson.dumps(REFUSED)))

    assert bench.kept.told == []


async def test_a_service_that_says_no_more_is_told_once_its_work_is_given_up(bench: Bench) -> None:
    execution_id, _ = await accept(bench, lease_seconds=0)
    await lose(bench, execution_id, times=2)
    opened, app = bench.app.opened, bench.app
    overdue = OverdueWork(opened.database, opened.signals, app.metrics, app.world, Sentry())
    await overdue.run_once()
    await overdue.run_once()

    event, check_in = bench.kept.told
    assert event["tags"]["error.code"] == "LEASE_LOST"
    assert (check_in["check_in_id"], check_in["status"]) == (execution_id.hex, "error")


async def lose(bench: Bench, execution_id: UUID, *, times: int) -> None:
    """Let an execution have been lost before."""
    lost = sa.update(executions_live).where(executions_live.c.id == execution_id).values(lost_count=times)
    await bench.app.opened.database.tx(lambda connection: connection.execute(lost))
