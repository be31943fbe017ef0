"""`platform-self-check`: what it asks, that nothing it asks can stop it, and what is kept of the answers."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring, testing
from mainspring.builtin import self_check_run
from mainspring.builtin.self_check_api import examine_api
from mainspring.builtin.self_check_environment import examine_environment
from mainspring.builtin.self_check_finding import Script, ScriptResult, Verdict
from mainspring.builtin.self_check_run import ScriptRunner
from mainspring.domain.execution import Status, Trigger
from mainspring.errors import DefinitionError, IntegrityError
from mainspring.jobs.check import Check
from mainspring.jobs.variable import Variable, Variables
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mainspring.domain.execution import Execution
    from tests.runtime.conftest import MakeApp

MOMENT = timedelta(milliseconds=500)
"""Enough for a thread to begin on a busy machine."""
PATIENCE = timedelta(seconds=20)
NAMES = ["validate-env", "validate-db", "validate-migrations", "validate-api"]


@pytest.fixture
def app(make_app: MakeApp) -> Mainspring:
    return make_app(poll="0.05s")


async def checked(app: Mainspring) -> Execution:
    """Run the self-check once, and return how it ended."""
    execution = await app.enqueue("platform-self-check", max_retries=0)
    return await app.commands_and_actor()[0].wait(
        app.commands_and_actor()[1].scope, execution.id, timeout=timedelta(seconds=30)
    )


def scripts(execution: Execution) -> dict[str, dict[str, Any]]:
    return {script["name"]: script for script in execution.result["details"]["scripts"]}


async def test_all_is_well_where_nothing_is_wrong(app: Mainspring) -> None:
    @app.check("stock")
    async def _stock() -> str:
        return "312 articles"

    async with app.running(roles=("worker",)):
        execution = await checked(app)
    assert (execution.status, execution.message_code) == (Status.SUCCEEDED, "PLATFORM_VALIDATION_PASSED")
    assert execution.summary == "Platform validation passed: 4/4 checks passed"
    assert list(scripts(execution)) == [*NAMES, "check-stock"]
    assert scripts(execution)["validate-api"]["status"] == "skipped"
    assert execution.result["details"]["success"] is True


class Hanging:
    """Checks that never answer, each in its own way."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.calls = 0

    async def asleep(self) -> None:
        """Waits for ever, and stops when it is told to."""
        await asyncio.Event().wait()

    async def deaf(self) -> None:
        """Waits for ever, and does not stop when it is told to."""
        while not self.released.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.calls += 1
                if self.calls > 1:
                    raise

    def blocked(self) -> None:
        """Waits for ever on a thread, which nobody can stop."""
        self.calls += 1
        self.released.wait()


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.released.set()


async def found_by(*scripts: Script) -> list[ScriptResult]:
    """Run scripts, and return what they found."""
    return [result async for result in ScriptRunner(RealWorld()).run(scripts)]


@pytest.mark.parametrize("way", ["asleep", "deaf", "blocked"])
async def test_a_check_that_hangs_is_bounded_and_named(
    hanging: Hanging, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check_run, "STOP_SECONDS", 0.05)
    hung, after = await found_by(
        Script("check-hangs", getattr(hanging, way), MOMENT), Script("check-after", lambda: None, PATIENCE)
    )
    assert (hung.name, hung.status, after.status) == ("check-hangs", "failed", "passed")
    assert "it has not ended within 0.5 s" in hung.message
    assert ("goes on" in hung.message) == (way != "asleep")


async def test_a_check_that_hangs_or_raises_is_recorded(app: Mainspring, hanging: Hanging) -> None:
    app.check("hangs", timeout=MOMENT)(hanging.asleep)
    app.check("raises")(_is_wrong)
    app.check("after")(lambda: None)
    async with app.running(roles=("worker",)):
        execution = await checked(app)
        lines = await app.opened.database.read(lambda connection: _lines(connection, execution))
    assert (execution.status, execution.message_code) == (Status.FAILED, "PLATFORM_VALIDATION_FAILED")
    assert execution.summary == "Platform validation failed: 4/6 checks passed"
    found = scripts(execution)
    assert {name: script["status"] for name, script in found.items() if script["status"] != "passed"} == {
        "validate-api": "skipped", "check-hangs": "failed", "check-raises": "failed",
    }  # fmt: skip
    assert execution.error_message == (
        "check-hangs: it has not ended within 0.5 s; check-raises: ValueError: 42 orders without a customer"
    )
    assert {("error", "check-hangs failed"), ("info", "check-after passed")} <= set(lines)


async def test_a_check_that_hangs_on_a_thread_is_not_called_again_before_it_has_returned(
    app: Mainspring, hanging: Hanging
) -> None:
    app.check("hangs", timeout=MOMENT)(hanging.blocked)
    async with app.running(roles=("worker",)):
        await checked(app)
        again = await checked(app)
        assert "has not returned since an earlier self-check" in scripts(again)["check-hangs"]["message"]
        assert hanging.calls == 1
        hanging.released.set()
        while scripts(await checked(app))["check-hangs"]["status"] == "failed":
            pass
    assert hanging.calls == 2


def _asks_to_exit() -> None:
    raise SystemExit(3)


async def _asks_to_exit_on_the_loop() -> None:
    raise SystemExit(3)


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


async def _is_wrong() -> None:
    raise ValueError("42 orders without a customer")


class Mute(Exception):  # noqa: N818 - its name is beside the point
    """Cannot even be written down."""

    def __str__(self) -> str:
        raise RuntimeError


async def _is_mute() -> None:
    raise Mute


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_is_wrong, "ValueError: 42 orders without a customer"),
        (_asks_to_exit, "SystemExit: 3"),
        (_asks_to_exit_on_the_loop, "SystemExit: 3"),
        (_cancels_itself, "it raised CancelledError, although nobody had told it to stop"),
        (_is_mute, "Mute: <Mute whose text raised RuntimeError>"),
    ],
)
async def test_what_a_check_raises_is_its_failure_and_nobody_else_s(function: Callable[[], object], said: str) -> None:
    odd, after = await found_by(
        Script("check-odd", function, PATIENCE), Script("check-after", lambda: "well", PATIENCE)
    )
    assert (odd.status, odd.message) == ("failed", said)
    assert (after.status, after.message) == ("passed", "well")


def _lines(connection: Any, execution: Execution) -> list[tuple[str, str]]:
    from mainspring.store.tables import execution_logs

    found = execution_logs.select().where(execution_logs.c.execution_id == execution.id)
    return [(row.level, row.message) for row in connection.execute(found)]


async def test_a_validation_that_breaks_itself_says_so(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("no thread can be started")

    monkeypatch.setattr(self_check_run.ScriptRunner, "_bounded", broken)
    async with app.running(roles=("worker",)):
        execution = await checked(app)
    assert (execution.status, execution.message_code) == (Status.FAILED, "PLATFORM_VALIDATION_ERROR")
    assert execution.summary == "Platform validation could not be carried out: RuntimeError: no thread can be started"
    assert execution.result["details"]["success"] is False


async def test_a_store_that_takes_no_writes_fails_its_script(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_connection: object) -> None:
        raise IntegrityError("the database is read-only")

    monkeypatch.setattr("mainspring.store.upkeep.diagnosis.try_to_write", read_only)
    async with app.running(roles=("worker",)):
        execution = await checked(app)
    assert scripts(execution)["validate-db"]["message"] == "the database is read-only"


async def test_it_fires_every_night_at_two() -> None:
    app = Mainspring(database_url="sqlite://")
    (self_check,) = [job.definition for job in app.registry if job.is_object]
    assert self_check.name == "platform-self-check"
    assert self_check.enabled
    evening = datetime(2027, 3, 27, 20, tzinfo=UTC)  # clocks go forward in most of Europe that night
    assert self_check.schedule is not None
    assert self_check.schedule.next_after(evening) == datetime(2027, 3, 28, 2, tzinfo=UTC)
    assert self_check.schedule.next_after(datetime(2027, 3, 28, 2, tzinfo=UTC)) == datetime(2027, 3, 29, 2, tzinfo=UTC)


async def test_nobody_waits_for_it_in_a_test_of_an_application() -> None:
    app = Mainspring(database_url="sqlite://")
    async with testing.kit(app) as kit:
        await kit.advance(timedelta(days=3))
        assert not [run for run in await kit.drain() if run.trigger is Trigger.INTERVAL]


# ---- What the scripts ask --------------------------------------------------------------------------------------------


def test_variables_are_looked_at_by_their_types(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    app.variable("BILLING_TIMEOUT", float)
    app.variable("BILLING_URL")
    app.variable("BILLING_PROXY", required=False)
    monkeypatch.setenv("BILLING_TIMEOUT", "hunter2")
    failed = [
        finding.detail
        for finding in examine_environment(app.settings, app.variables)
        if finding.verdict is Verdict.FAILED
    ]
    assert failed == [
        "BILLING_TIMEOUT is no float: Input should be a valid number, unable to parse string as a number",
        "BILLING_URL (str) is not set: set it for this process",
    ]
    monkeypatch.setenv("BILLING_TIMEOUT", "2.5")
    monkeypatch.setenv("BILLING_URL", "https://billing.example")
    found = {finding.check: finding for finding in examine_environment(app.settings, app.variables)}
    assert found["variables"].verdict is Verdict.OK
    assert "BILLING_TIMEOUT (float), BILLING_URL (str)" in found["variables"].detail
    assert "MAINSPRING_POLL (timedelta)" in found["settings"].detail


@pytest.mark.parametrize("name", ["MAINSPRING_POLL", "with space", ""])
def test_a_variable_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(DefinitionError):
        Variables().declare(name)


def test_a_type_without_a_name_is_called_as_it_is_written() -> None:
    assert Variable("LEVEL", int | None, required=True).problem({}) == (
        "LEVEL (int | None) is not set: set it for this process"
    )


@pytest.mark.parametrize(("free", "verdict"), [(10**12, Verdict.OK), (10**8, Verdict.WARNING), (10**6, Verdict.FAILED)])
def test_a_disk_that_fills_up_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    app = Mainspring(database_url=f"sqlite:///{tmp_path}/store.db", export_dir=tmp_path)

    def disk_usage(_folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    found = {finding.check: finding.verdict for finding in examine_environment(app.settings, ())}
    assert (found["disk space"], found["disk space for exports"]) == (verdict, verdict)


async def test_an_api_that_does_not_answer_or_is_not_ready_fails(app: Mainspring) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        ready = b"503 Service Unavailable" if b"/readyz" in request else b"200 OK"
        writer.write(b"HTTP/1.1 " + ready + b"\r\nContent-Length: 8\r\nConnection: close\r\n\r\ndraining")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        health, ready = await examine_api(f"{url}/", app.world)
        assert (health.verdict, ready.verdict) == (Verdict.OK, Verdict.FAILED)
        assert ready.detail == f"{url}/readyz answers 503: draining"
    gone, _ = await examine_api(url, app.world)
    assert (gone.verdict, "took no connection" in gone.detail) == (Verdict.FAILED, True)


# ---- Declaring checks ------------------------------------------------------------------------------------------------


def test_a_check_that_asks_for_something_is_refused(app: Mainspring) -> None:
    with pytest.raises(DefinitionError, match="asks for 'connection', which nobody can give"):

        @app.check("odd")
        def _odd(connection: object) -> None: ...


def test_two_checks_of_one_name_are_refused(app: Mainspring) -> None:
    app.check("stock")(lambda: None)
    with pytest.raises(DefinitionError, match="two checks named 'stock'"):
        app.check("stock")(lambda: None)


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(hours=1)])
def test_a_check_is_bounded(timeout: timedelta) -> None:
    with pytest.raises(DefinitionError, match="timeout is"):
        Check("slow", lambda: None, timeout)


def test_a_check_stays_the_function_that_it_is(app: Mainspring) -> None:
    @app.check("stock")
    def stock() -> str:
        return "312 articles"

    assert stock() == "312 articles"
