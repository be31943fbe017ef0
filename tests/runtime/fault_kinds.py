"""Kinds of faults, each with the alert that tells of it, and by when; injected into an application under test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring import Cron, Every, JobResult, PermanentError, Retry, Thresholds, TransientError
from mainspring.domain.execution import Stage, Status, Trigger
from mainspring.errors import JobCrashedError
from mainspring.store.coordination import cluster
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import (
    definitions,
    executions,
    executions_live,
    nodes,
    schedules,
    services,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.store.engine.database import Connection
    from mainspring.testing.application_kit import Kit

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
SECONDS, MINUTES, HOURS, DAYS = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
BOUND = 15 * SECONDS
"""After its threshold every fault has to be told within this (contract: found within 15 s of the threshold)."""


async def nothing(kit: Kit) -> None:
    """Leave it to the handler and to time."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        alert: The deduplication key of the alert that tells of it.
        threshold: How long after the fault began its threshold is passed.
        handler: What the job `job` does.
        inject: Makes the fault.
    """

    name: str
    alert: str
    threshold: timedelta
    handler: Callable[..., Any] = lambda: None
    schedule: Cron | Every | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    inject: Callable[[Kit], Awaitable[None]] = nothing


def raising(error: Callable[[], BaseException]) -> Callable[[], None]:
    def handler() -> None:
        raise error()

    return handler


def processing(items: int) -> Callable[[], JobResult]:
    return lambda: JobResult(items_processed=items)


async def change(kit: Kit, *statements: sa.Executable) -> None:
    def work(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await kit.app.opened.database.tx(work)


def history(*runs: tuple[timedelta, float, int], asked: int = 1) -> Callable[[Kit], Awaitable[None]]:
    """Return what gives the job a past, lets the monitor learn from it, and asks for runs.

    Each of `runs` says how long ago a success began, how many seconds it took, and how many items it processed.
    """

    async def inject(kit: Kit) -> None:
        rows = [
            {
                "id": kit.app.world.new_id(),
                "environment": kit.app.settings.environment,
                "queue": "default",
                "job_name": "job",
                "trigger": Trigger.API.value,
                "created_at": kit.clock.now - ago,
                "started_at": kit.clock.now - ago,
                "completed_at": kit.clock.now - ago + seconds * SECONDS,
                "updated_at": kit.clock.now - ago,
                "duration_ms": round(seconds * 1000),
                "items_processed": items,
                "status": Status.SUCCEEDED.value,
            }
            for ago, seconds, items in runs
        ]
        await change(kit, sa.insert(executions).values(rows))
        await kit.advance(61 * MINUTES)
        for _ in range(asked):
            await kit.app.enqueue("job")

    return inject


def steady(count: int = 40, every: timedelta = 6 * HOURS, seconds: float = 10, items: int = 100) -> Any:
    return [(number * every, seconds + number % 3 * 0.1, items + number % 3) for number in range(1, count + 1)]


async def enqueue(kit: Kit) -> None:
    await kit.app.enqueue("job")


async def enqueue_a_dozen(kit: Kit) -> None:
    for _ in range(12):
        await kit.app.enqueue("job")


def set_schedule(**values: Any) -> Callable[[Kit], Awaitable[None]]:
    async def inject(kit: Kit) -> None:
        await change(kit, sa.update(schedules).where(schedules.c.name == "job").values(values))

    return inject


def waiting(count: int, *, job: str = "job", queue: str = "default") -> Callable[[Kit], Awaitable[None]]:
    """Return what puts executions into a queue of which no worker here takes any."""

    async def inject(kit: Kit) -> None:
        rows = [
            {
                "id": kit.app.world.new_id(),
                "environment": kit.app.settings.environment,
                "queue": queue,
                "job_name": job,
                "trigger": Trigger.API.value,
                "created_at": kit.clock.now,
                "updated_at": kit.clock.now,
                "available_at": kit.clock.now,
                "stage": int(Stage.READY),
            }
            for _ in range(count)
        ]
        await change(kit, *(sa.insert(executions_live).values(rows[at : at + 500]) for at in range(0, count, 500)))

    return inject


async def flood(kit: Kit) -> None:
    """Put more into a queue than it may hold, in one statement."""
    await waiting(1, queue="bulk")(kit)
    columns = ", ".join(f'"{column.name}"' for column in executions_live.c if column.name != "id")
    more = f"""
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)
        insert into mainspring.executions_live (id, {columns})
        select printf('00000000-0000-7000-8000-%012d', i), {columns}
        from n, (select * from mainspring.executions_live)"""  # noqa: S608 - names of columns
    await change(kit, sa.text(more))


async def enter_node(kit: Kit, name: str = "other", *, lease: float = 15.0, slots: int = 4) -> Any:
    entry = cluster.NodeEntry(
        id=kit.app.world.new_id(),
        environment=kit.app.settings.environment,
        name=name,
        host="host",
        pid=1,
        roles=("worker",),
        version="0",
        slots=slots,
    )
    await kit.app.opened.database.tx(lambda connection: cluster.register(connection, entry, lease_seconds=lease))
    return entry.id


async def lose_a_node(kit: Kit) -> None:
    await enter_node(kit)


async def unknown_to_workers(kit: Kit) -> None:
    await enter_node(kit, lease=86_400)
    await waiting(1, job="nobody-knows")(kit)


async def freeze_a_node(kit: Kit) -> None:
    """Let a node fall silent while it runs something, with a lease that somebody set far too long."""
    node_id = await enter_node(kit, lease=86_400)
    await waiting(1, job="frozen")(kit)
    took = {"stage": int(Stage.RUNNING), "node_id": node_id, "started_at": store_now(), "attempt": 1}
    await change(kit, sa.update(executions_live).values(took))


async def hand_over_to_silence(kit: Kit) -> None:
    """Let a service that took work never be heard of again, and nobody look after what is overdue."""
    await waiting(1, job="handed")(kit)
    took = {"stage": int(Stage.RUNNING), "started_at": store_now(), "lease_until": store_now(), "attempt": 1}
    await change(kit, sa.update(executions_live).values(took))


async def open_a_breaker(kit: Kit) -> None:
    row = {
        "environment": kit.app.settings.environment,
        "name": "billing",
        "url": "http://billing",
        "status": "unreachable",
        "breaker_state": "open",
        "consecutive_failures": 5,
        "last_error": "nobody took the connection",
        "created_at": kit.clock.now,
        "updated_at": kit.clock.now,
    }
    await change(kit, sa.insert(services).values(row))


async def lose_power(kit: Kit) -> None:
    await kit.advance(MINUTES)
    kit.clock.advance(2 * HOURS)


async def freeze_everything(kit: Kit) -> None:
    """Let the only node stop and another one start long afterwards."""
    await change(kit, sa.update(nodes).values(stopped_at=store_now(), lease_until=store_now()))
    kit.clock.advance(5 * MINUTES)
    await enter_node(kit, lease=86_400)


async def succeed_once_then_vanish(kit: Kit) -> None:
    await kit.advance(61 * MINUTES)
    await change(kit, sa.update(schedules).where(schedules.c.name == "job").values(due_at=None))
    await kit.advance(59 * MINUTES)


async def orphan(kit: Kit) -> None:
    """Let what runs the job ask for nothing any more, though it is expected at least each hour."""
    await change(kit, sa.update(definitions).where(definitions.c.name == "job").values(updated_at=store_now()))


BROKEN = {
    "an exception": raising(lambda: ValueError("no such table")),
    "a permanent error": raising(lambda: PermanentError("the contract has ended")),
    "a transient error that stays": raising(lambda: TransientError("the mail server is busy")),
    "a crash of its process": raising(lambda: JobCrashedError("exit 139")),
    "an exit of the program": raising(lambda: SystemExit(3)),
    "a time-out of what it calls": raising(lambda: TimeoutError("no answer within 5 s")),
    "an error without any text": raising(AssertionError),
    "a result that says that it failed": lambda: JobResult(success=False, summary="3 of 3 failed"),
}
MINUTELY, HOURLY = Every(MINUTES), Every(HOURS)
A_THIRD = iter(range(1_000))


def fails_sometimes(share: int = 3) -> Callable[[], None]:
    """Return a handler of which every third run fails."""
    runs = iter(range(1_000))

    def handler() -> None:
        if next(runs) % share == 0:
            raise ValueError("the lock was held")

    return handler


FAULTS = [
    *(
        Fault(name, "consecutive_failures:job", 3 * MINUTES, handler, MINUTELY)
        for name, handler in BROKEN.items()
    ),
    Fault(
        "every third run fails", "failure_rate:job", 10 * MINUTES, fails_sometimes(), MINUTELY,
    ),
    Fault(
        "the schedule names a zone that is gone", "staleness:job", timedelta(0), schedule=Cron("0 * * * *"),
        inject=set_schedule(code_timezone="Mars/Olympus", updated_at=store_now()),
    ),
    Fault(
        "nobody looks at the schedule any more", "staleness:job", HOURS + 30 * MINUTES, schedule=HOURLY,
        inject=set_schedule(due_at=None),
    ),
    Fault(
        "it stops after its first success", "staleness:job", 6 * MINUTES, schedule=HOURLY,
        inject=succeed_once_then_vanish,
    ),
    Fault(
        "its condition always fails", "staleness:job", HOURS + 30 * MINUTES, schedule=HOURLY,
        options={"condition": raising(lambda: ValueError("no such flag"))},
    ),
    Fault(
        "it fails each time, and too seldom for a row", "staleness:job", HOURS + 30 * MINUTES,
        BROKEN["an exception"], HOURLY,
    ),
    Fault(
        "nobody asks for it any more", "staleness:job", HOURS, thresholds=Thresholds(staleness=HOURS), inject=orphan,
    ),
    Fault(
        "it has its own threshold of silence", "staleness:job", HOURS + 5 * MINUTES, BROKEN["an exception"], HOURLY,
        Thresholds(staleness=5 * MINUTES),
    ),
    Fault(
        "a success takes too little time", "too_fast:job", timedelta(0), thresholds=Thresholds(shortest_time=SECONDS),
        inject=enqueue,
    ),
    Fault(
        "it runs too often", "too_often:job", timedelta(0), thresholds=Thresholds(runs_per_hour=10),
        inject=enqueue_a_dozen,
    ),
    Fault(
        "a success has done nothing", "result_assertion:job", timedelta(0), processing(0),
        thresholds=Thresholds(least_items=1), inject=enqueue,
    ),
    Fault(
        "a success has done far less than on other Mondays", "result_assertion:job", timedelta(0), processing(10),
        thresholds=Thresholds(share_of_usual_items=0.2),
        inject=history(*((number * 7 * DAYS, 10, 1_000) for number in range(1, 7))),
    ),
    Fault(
        "it processes far fewer items than usual", "anomaly_items:job", timedelta(0), processing(5),
        thresholds=Thresholds(anomaly=6), inject=history(*steady()),
    ),
    Fault(
        "it fails more often than it used to", "anomaly_failure:job", timedelta(0), BROKEN["an exception"],
        thresholds=Thresholds(anomaly=6, failure_rate=1, consecutive_failures=99),
        options={"retry": Retry(max_retries=0)}, inject=history(*steady(60, seconds=0.001), asked=5),
    ),
    Fault(
        "nobody has asked for far longer than usual", "anomaly_silence:job", 78 * MINUTES, processing(100),
        thresholds=Thresholds(anomaly=6), inject=history(*steady(every=HOURS, seconds=0)),
    ),
    Fault(
        "it takes longer from day to day", "trend:job", timedelta(0), thresholds=Thresholds(trend_days=30),
        inject=history(*((number * DAYS, 3_000 - 100 * number, 0) for number in range(1, 25))),
    ),
    Fault("no worker is alive", "never_claimed:stranded", MINUTES, inject=waiting(1, job="stranded")),
    Fault("no worker knows the job", "never_claimed:nobody-knows", MINUTES, inject=unknown_to_workers),
    Fault("a queue is too deep", "queue_depth:bulk", timedelta(0), inject=flood),
    Fault("a queue is not worked off", "queue_age:bulk", 10 * MINUTES, inject=waiting(1, queue="bulk")),
    Fault("a node is lost", "node_lost:other", 15 * SECONDS, inject=lose_a_node),
    Fault("a node hangs and keeps its lease", "staleness:frozen/", 45 * SECONDS, inject=freeze_a_node),
    Fault("a service took work and is silent", "staleness:handed/", 45 * SECONDS, inject=hand_over_to_silence),
    Fault("a service is not called any more", "breaker_open:billing", timedelta(0), inject=open_a_breaker),
    Fault("all power was lost", "unwatched:mainspring", timedelta(0), schedule=MINUTELY, inject=lose_power),
    Fault("the last node was gone for a while", "unwatched:mainspring", timedelta(0), inject=freeze_everything),
]  # fmt: skip
