"""Jobs with a lock, on a real node: who comes second is skipped, who loses it is stopped and tried again."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import shutil
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from mainspring import Every, JobContext, Mainspring, Retry, distributed_lock, testing
from mainspring.domain.execution import Status
from mainspring.errors import ExecutionFailedError
from mainspring.store.coordination import locks as stored_locks
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import claims
from mainspring.store.tables import locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeApp

    from mainspring.control.handles import ExecutionHandle
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.claim_looks import ClaimLook
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.valkey import Valkey

SOON = timedelta(seconds=20)
AT_ONCE = Retry(max_retries=1, base=timedelta(0))


async def take_away(app: Mainspring) -> None:
    """Let the leases of all locks end."""
    await app.opened.database.tx(
        lambda connection: connection.execute(sa.update(locks).values(lease_until=store_now()))
    )


async def skip_reason(execution: ExecutionHandle[Any]) -> str | None:
    """Return why an execution was skipped."""
    assert await execution.wait(timeout=SOON) is None
    found = await execution.fetch()
    assert found.status is Status.SKIPPED
    return found.skip_reason


@pytest.mark.parametrize("redis", [False, True], ids=["on the store", "on Valkey before the store"])
async def test_an_execution_whose_lock_is_held_is_skipped_with_the_holder(
    make_app: MakeApp, valkey: Valkey, caplog: pytest.LogCaptureFixture, *, redis: bool
) -> None:
    app = make_app(redis_url=valkey.url if redis else None)
    go_on, started = asyncio.Event(), asyncio.Event()

    @app.job("import")
    @distributed_lock("import:{payload[org]}", ttl=30)
    async def import_(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> bool:
        started.set()
        await go_on.wait()
        return ctx.lock is not None and ctx.lock.fence > 0

    async with app.running():
        first = await import_.enqueue({"org": "acme"})
        await asyncio.wait_for(started.wait(), 10)
        reason = await skip_reason(await import_.enqueue({"org": "acme"}))
        other = await import_.enqueue({"org": "globex"})
        go_on.set()
        assert await first.wait(timeout=SOON) is True
        assert await other.wait(timeout=SOON) is True
    assert reason is not None
    assert reason.startswith(f"lock 'import:acme' is held by execution {first.id} of job 'import', attempt 1, on node ")
    assert reason in caplog.text


async def test_an_organization_is_not_told_who_of_another_one_holds_a_lock(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.job("import")
    @distributed_lock("import", ttl=30)
    async def import_() -> None: ...

    @app.job("report")
    async def report() -> None:
        async with distributed_lock("import", ttl=30):
            pytest.fail("the lock is held")

    async with app.running(), distributed_lock("import", ttl=30):
        for job in (import_, report):
            reason = await skip_reason(await job.enqueue(organization_id="acme"))
            assert reason == "lock 'import' is held by somebody else"
    assert caplog.text.count("lock 'import' is held by process ") == 2


async def test_a_handler_on_a_thread_is_locked_too(make_app: MakeApp) -> None:
    app = make_app()
    go_on, started = threading.Event(), threading.Event()

    @app.job("import")
    @distributed_lock("import", ttl=30)
    def import_(ctx: JobContext[None]) -> bool:
        started.set()
        go_on.wait(10)
        return ctx.lock is not None

    async with app.running():
        first = await import_.enqueue()
        await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
        assert await skip_reason(await import_.enqueue())
        go_on.set()
        assert await first.wait(timeout=SOON) is True


@pytest.mark.parametrize("kind", ["asynchronous", "on a thread"])
async def test_an_attempt_that_loses_its_lock_is_stopped_and_tried_again(make_app: MakeApp, kind: str) -> None:
    app = make_app()
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    async def import_(ctx: JobContext[None]) -> int:
        started.set()
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return ctx.attempt

    def import_on_thread(ctx: JobContext[None]) -> int:
        loop.call_soon_threadsafe(started.set)
        while ctx.attempt == 1:
            ctx.raise_if_cancelled()
            threading.Event().wait(0.01)
        return ctx.attempt

    locked = distributed_lock("import", ttl=0.3)
    if kind == "asynchronous":
        app.job("import", retry=AT_ONCE)(locked(import_))
    else:
        app.job("import", retry=AT_ONCE)(locked(import_on_thread))
    async with app.running():
        execution = await app.enqueue("import")
        await asyncio.wait_for(started.wait(), 10)
        await take_away(app)
        assert await execution.wait(timeout=SOON) == 2


async def test_a_lost_lock_is_the_error_of_its_execution(make_app: MakeApp) -> None:
    app = make_app()
    started = asyncio.Event()

    @app.job("import", retry=Retry(max_retries=0))
    async def import_() -> None:
        async with distributed_lock("import", ttl=0.3):
            started.set()
            await asyncio.Event().wait()

    async with app.running():
        execution = await import_.enqueue()
        await asyncio.wait_for(started.wait(), 10)
        await take_away(app)
        with pytest.raises(ExecutionFailedError, match=r"lock 'import', fence .* was lost"):
            await execution.wait(timeout=SOON)
        found = await execution.fetch()
    assert found.error_message is not None
    assert found.error_message.startswith("lock 'import', fence ")


async def test_a_block_whose_lock_is_held_skips_the_execution(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("import")
    async def import_() -> None:
        async with distributed_lock("import", ttl=30):
            pytest.fail("the lock is held")

    async with app.running(), distributed_lock("import", ttl=30):
        reason = await skip_reason(await import_.enqueue())
    assert reason is not None
    assert reason.startswith("lock 'import' is held by process ")


async def test_a_locked_function_that_a_handler_calls_returns_none(make_app: MakeApp) -> None:
    app = make_app()

    @distributed_lock("import", ttl=30)
    async def refresh() -> str:
        return "done"

    @app.job("report")
    async def report() -> str | None:
        return f"refreshed: {await refresh()}"

    async with app.running():
        async with distributed_lock("import", ttl=30):
            assert await (await report.enqueue()).wait(timeout=SOON) == "refreshed: None"
        assert await (await report.enqueue()).wait(timeout=SOON) == "refreshed: done"


async def test_an_attempt_waits_for_the_lock_that_a_lost_one_left_behind(make_app: MakeApp) -> None:
    app = make_app()

    @app.job("import")
    @distributed_lock("import", ttl=3)
    async def import_() -> str:
        return "done"

    async with app.running():
        execution = await import_.enqueue(delay=timedelta(seconds=0.5))
        dead = f"execution {execution.id} of job 'import', attempt 0, on node gone"
        await app.opened.database.tx(
            lambda connection: stored_locks.acquire(
                connection, "dev", "import", owner="gone", holder=dead, lease_seconds=2
            )
        )
        assert await execution.wait(timeout=SOON) == "done"


async def test_a_request_outside_of_the_application_s_context_finds_its_locks(make_app: MakeApp) -> None:
    @distributed_lock("import", ttl=30)
    async def route() -> str:
        return "done"

    async with make_app().running():
        request = asyncio.get_running_loop().create_task(route(), context=contextvars.Context())
        assert await request == "done"


class Looks:
    """The looks of nodes for work, and how much they have claimed."""

    def __init__(self) -> None:
        self._looks = Counter[UUID]()
        self._claimed = 0
        self._looked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def add(self, node_id: UUID, claimed: int) -> None:
        """Count one, on whatever thread."""
        self._looks[node_id] += 1
        self._claimed += claimed
        self._loop.call_soon_threadsafe(self._looked.set)

    async def until_more_is_claimed(self) -> None:
        """Wait until a node has claimed something, and all have looked twice since: by then it has begun."""
        before = self._claimed
        while self._claimed == before:
            await self._next()
        looks = self._looks.copy()
        while any(count < looks[node_id] + 2 for node_id, count in self._looks.items()):
            await self._next()

    async def _next(self) -> None:
        self._looked.clear()
        await self._looked.wait()


@pytest.fixture
async def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The looks of all nodes of the test."""
    looks, claim = Looks(), claims.claim

    def claim_and_tell(
        connection: Connection, request: claims.ClaimRequest, slots: int, seen: ClaimLook
    ) -> list[ClaimedExecution]:
        claimed = claim(connection, request, slots, seen)
        looks.add(request.node_id, len(claimed))
        return claimed

    monkeypatch.setattr(claims, "claim", claim_and_tell)
    return looks


async def test_no_tick_runs_twice_or_beside_another_when_redis_goes_down(
    make_app: MakeApp, valkey: Valkey, looks: Looks
) -> None:
    apps = [make_app(redis_url=valkey.url, node=f"node-{number}") for number in range(2)]
    runs, at_work, most_at_work = asyncio.Queue[datetime | None](), 0, 0

    async def tick(ctx: JobContext[None]) -> None:
        nonlocal at_work, most_at_work
        at_work += 1
        most_at_work = max(most_at_work, at_work)
        await looks.until_more_is_claimed()  # the next tick is due before this one has ended
        at_work -= 1
        await runs.put(ctx.scheduled_for)

    for app in apps:
        app.job("tick", schedule=Every(timedelta(seconds=1)), max_running=4, overlap="allow")(
            distributed_lock("tick", ttl=1)(tick)
        )
    async with apps[0].running(), apps[1].running():
        ran = [await asyncio.wait_for(runs.get(), 20)]
        valkey.kill()
        ran += [await asyncio.wait_for(runs.get(), 20) for _ in range(2)]
    assert len(set(ran)) == 3
    assert most_at_work == 1


async def test_under_test_locks_follow_the_clock_of_the_test() -> None:
    app = Mainspring(database_url="sqlite://")
    begun, go_on = asyncio.Event(), asyncio.Event()

    @app.job("import")
    @distributed_lock("import", ttl=30)
    async def import_() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    @app.job("on-a-thread")
    @distributed_lock("import", ttl=30)
    def on_a_thread() -> str:
        return "done"

    @distributed_lock("import", ttl=30, wait=60)
    async def late() -> str:
        return "done"

    @distributed_lock("export", ttl=30)
    def on_the_loop() -> str:
        return "done"

    async with testing.kit(app) as kit:
        assert on_the_loop() == "done"
        await import_.enqueue()
        running = asyncio.get_running_loop().create_task(kit.run_next())
        await begun.wait()
        for _ in range(10):
            kit.clock.advance(timedelta(seconds=12))
            for _ in range(5):
                await asyncio.sleep(0)  # noqa: TID251 - no time, only the keeper's turn
        await on_a_thread.enqueue()
        (second,) = await kit.drain()
        waiting = asyncio.get_running_loop().create_task(late())
        go_on.set()
        first = await running
        while not waiting.done():
            kit.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0)  # noqa: TID251 - as above
        assert await waiting == "done"
    assert first is not None
    assert (first.status, second.status) == (Status.SUCCEEDED, Status.SKIPPED)


async def test_a_lock_holds_in_the_child_process_of_an_attempt(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(migrated_file, tmp_path / "store.db")
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("MAINSPRING_APP", "locked_jobs:app")
    monkeypatch.setenv("MAINSPRING_POLL", "0.2s")
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    app: Mainspring = importlib.import_module("locked_jobs").app
    gate = tmp_path / "gate"
    async with app.running():
        first = await app.enqueue("in-a-child", {"gate": str(gate)})
        await until(gate.exists)
        second = await app.enqueue("in-a-child", {"gate": str(tmp_path / "never")})
        reason = await skip_reason(second)
        gate.with_suffix(".open").touch()
        assert await first.wait(timeout=SOON) > 0
    assert reason is not None
    assert f"held by execution {first.id} of job 'in-a-child'" in reason
    monkeypatch.delitem(sys.modules, "locked_jobs")


async def until(look: Callable[[], bool]) -> None:
    """Return when something that another process does has happened."""
    async with asyncio.timeout(20):
        while not look():
            await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.02)
