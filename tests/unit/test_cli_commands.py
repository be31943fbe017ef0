from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import __version__
from mainspring.cli.exit_codes import exit_code_of
from mainspring.cli.main import main
from mainspring.errors import (
    ConfigurationError,
    DatabaseUnreachableError,
    DefinitionError,
    ExecutionNotFoundError,
    IntegrityError,
    MainspringError,
    SchemaMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]

APP = """
from mainspring import Cron, JobContext, Mainspring, PermanentError

print("importing the application prints")
app = Mainspring()
number = 7


@app.job("add", schedule=Cron("0 9 * * MON", tz="Europe/Rome"))
async def add(ctx: JobContext[dict], payload: dict) -> int:
    '''Add two numbers.'''
    ctx.log("adding", parts=len(payload))
    return payload["a"] + payload["b"]


@app.job("refuse")
async def refuse() -> None:
    raise PermanentError("not [today]")
"""


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Command:
    """Run `mainspring` in a folder of its own: returns the exit code, and what it wrote to each stream."""
    module = f"shop_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{module}.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MAINSPRING_APP", f"{module}:app")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def answer_of(result: tuple[int, str, str]) -> Any:
    code, out, _ = result
    assert code == 0
    return json.loads(out)


def ask_for(command: Command, job: str, *arguments: str) -> str:
    return answer_of(command("jobs", "trigger", job, "--json", *arguments))["id"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MainspringError("x"), 1),
        (ExecutionNotFoundError("x"), 1),
        (ConfigurationError("x"), 3),
        (DefinitionError("x"), 3),
        (DatabaseUnreachableError("x"), 4),
        (SchemaMismatchError("x"), 5),
        (IntegrityError("x"), 6),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: MainspringError, code: int) -> None:
    assert exit_code_of(error) == code


def test_the_version_is_shown(command: Command) -> None:
    assert command("--version")[:2] == (0, f"mainspring {__version__}\n")


def test_the_help_loads_no_heavy_package() -> None:
    script = (
        "import sys; sys.argv = ['mainspring', '--help']\n"
        "from mainspring.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    loaded = ended.stdout.splitlines()[-1]
    heavy = ("fastapi", "sqlalchemy", "alembic", "pydantic", "rich", "uvicorn", "httpx2", "asyncpg")
    assert [name for name in heavy if f"'{name}'" in loaded] == []


def test_arguments_that_cannot_be_read_are_exit_2(command: Command) -> None:
    assert command("token", "create", "--user", "ada", "--role", "emperor")[0] == 2


def test_an_unknown_setting_is_exit_3_and_names_the_near_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_LEESE", "2s")

    code, out, err = command("db", "check")

    assert (code, out) == (3, "")
    assert "MAINSPRING_LEESE" in err
    assert "MAINSPRING_LEASE" in err
    assert "Traceback" not in err


def test_a_database_that_does_not_answer_is_exit_4(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/store")

    code, out, err = command("db", "upgrade")

    assert (code, out) == (4, "")
    assert "127.0.0.1" in err
    assert "secret" not in err


def test_a_file_that_is_no_database_is_exit_6(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mainspring.db").write_bytes(b"not a database at all" * 100)

    code, _, err = command("executions", "list")

    assert code == 6
    assert "mainspring.db" in err


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no_such_module:app", "there is no module 'no_such_module'"),
        ("no_colon", "write `package.module:name`"),
        ("json:nothing", "has no 'nothing'"),
        ("json:dumps", "is a function, not a Mainspring"),
    ],
)
def test_an_application_that_is_not_there_is_exit_3_and_says_what_was_not_found(
    command: Command, path: str, told: str
) -> None:
    code, out, err = command("serve", "--app", path)

    assert (code, out) == (3, "")
    assert told in err


def test_a_module_that_cannot_be_imported_is_named_with_its_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken_shop.py").write_text("import json\njson.nothing\n")

    code, _, err = command("jobs", "trigger", "x", "--app", "broken_shop:app")

    assert code == 3
    assert "broken_shop.py, line 2" in err


def test_serving_without_an_application_says_how_to_name_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAINSPRING_APP")

    code, _, err = command("serve")

    assert code == 3
    assert "--app" in err


def test_serving_other_machines_without_a_secret_key_is_exit_3_with_the_line_to_run(command: Command) -> None:
    code, out, err = command("serve", "--host", "0.0.0.0")  # noqa: S104 - refused

    assert (code, out) == (3, "")
    assert "export MAINSPRING_SECRET_KEY=" in err


def test_a_port_that_is_taken_is_exit_1_before_any_job_starts(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = command("serve", "--port", str(taken.getsockname()[1]))

    assert code == 1
    assert "--port" in err
    assert not (tmp_path / "mainspring.db").exists()


def test_an_unknown_role_is_exit_3_and_names_the_known_ones(command: Command) -> None:
    code, _, err = command("serve", "--roles", "api,cook")

    assert code == 3
    assert "scheduler" in err


def test_the_schema_goes_forward_and_back(command: Command) -> None:
    assert command("db", "check")[0] == 5
    assert command("db", "upgrade")[0] == 0
    assert answer_of(command("db", "check", "--json"))["status"] == "current"
    assert command("db", "downgrade", "base")[0] == 0
    code, out, _ = command("db", "check", "--json")
    assert (code, json.loads(out)["status"]) == (5, "missing")


def test_the_grants_of_a_role_are_printed_as_sql(command: Command) -> None:
    code, out, _ = command("db", "grants", "app_role")
    assert code == 0
    assert out.splitlines()[0] == "grant usage on schema mainspring to app_role;"
    assert all(line.startswith(("grant ", "revoke ")) and line.endswith(";") for line in out.splitlines())


def test_a_copy_between_two_sqlite_stores_is_refused(command: Command) -> None:
    code, _, err = command("db", "copy", "sqlite:///one.db", "sqlite:///two.db")

    assert code == 1
    assert "from SQLite to PostgreSQL" in err


def test_a_token_is_printed_and_nothing_else(command: Command) -> None:
    code, out, err = command("token", "create", "--user", "ada", "--org", "acme", "--role", "member")

    assert code == 0
    assert [len(line.split(".")) for line in out.splitlines()] == [3]
    assert "importing the application prints" in err


def test_a_token_of_impossible_length_is_refused(command: Command) -> None:
    assert command("token", "create", "--user", "ada", "--role", "admin", "--ttl", "800d")[0] == 3
    assert command("token", "create", "--user", "ada", "--role", "admin", "--ttl", "soon")[0] == 2


def test_revoking_needs_one_token_or_one_user(command: Command) -> None:
    assert command("token", "revoke")[0] == 2
    assert command("token", "revoke", "some-id", "--user", "ada")[0] == 2
    assert command("token", "revoke", "some-id")[0] == 0
    assert command("token", "revoke", "--user", "ada")[0] == 0


def test_a_triggered_job_waits_for_a_node(command: Command) -> None:
    execution_id = ask_for(command, "add", "--payload", '{"a": 1, "b": 2}')

    shown = answer_of(command("executions", "show", execution_id, "--json"))

    assert (shown["status"], shown["payload"], shown["trigger"]) == ("queued", {"a": 1, "b": 2}, "admin")
    assert shown["attempts"] == []
    assert (shown["waitsFor"], shown["waitsUntil"]) == ("a free worker", None)
    assert "a free worker" in command("executions", "show", execution_id)[1]


def test_a_job_that_is_not_there_is_exit_1_and_names_the_near_one(command: Command) -> None:
    code, _, err = command("jobs", "trigger", "ad")

    assert code == 1
    assert "'add'" in err


def test_a_payload_that_is_no_json_is_exit_2(command: Command) -> None:
    assert command("jobs", "trigger", "add", "--payload", "{a: 1}")[0] == 2


def test_waiting_without_a_node_says_so_and_does_not_hang(command: Command) -> None:
    code, _, err = command("jobs", "trigger", "add", "--wait")

    assert code == 1
    assert "mainspring serve" in err


def test_an_execution_that_waits_is_cancelled_once(command: Command) -> None:
    execution_id = ask_for(command, "refuse")

    assert command("executions", "cancel", execution_id)[0] == 0
    code, _, err = command("executions", "cancel", execution_id)

    assert code == 1
    assert "it is cancelled" in err
    assert command("executions", "retry", execution_id)[0] == 1


def test_the_life_of_jobs_is_listed_shown_and_dumped(command: Command, tmp_path: Path) -> None:
    succeeding = ask_for(command, "add", "--payload", '{"a": 1, "b": 2}')
    failing = ask_for(command, "refuse")
    run_until_drained(tmp_path)

    listed = answer_of(command("executions", "list", "--json"))
    assert {item["id"]: item["status"] for item in listed} == {succeeding: "succeeded", failing: "failed"}
    assert [item["id"] for item in answer_of(command("executions", "list", "--status", "failed", "--json"))] == [
        failing
    ]

    shown = answer_of(command("executions", "show", failing, "--json"))
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["failed"]
    assert "not [today]" in command("executions", "show", failing)[1]

    code, out, _ = command("executions", "logs", succeeding, "--json")
    assert (code, json.loads(out)["message"]) == (0, "adding")
    assert "adding  parts=2" in command("executions", "logs", succeeding, "--follow")[1]

    job = answer_of(command("jobs", "show", "add", "--json"))
    assert (job["name"], job["schedule"]["timezone"], job["latest"][0]["result"]) == ("add", "Europe/Rome", 3)
    assert "Every Monday at 9:00 AM (Europe/Rome)" in command("jobs", "list")[1]
    assert len(answer_of(command("jobs", "next", "add", "--count", "3", "--json"))) == 3

    code, out, _ = command("dump", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["kind"] for line in lines if line["kind"] != "definition"] == [
        "schedule", "schedule", "execution", "attempt", "execution", "attempt",
    ]  # fmt: skip
    built_in = {"cleanup", "data_processing", "export_report", "mainspring.bulk_action", "notification"}
    built_in |= {"platform-self-check", "sync"}
    assert {line["name"] for line in lines if line["kind"] == "definition"} == {"add", "refuse"} | built_in
    executed = next(line for line in lines if line["kind"] == "execution" and line["id"] == succeeding)
    assert executed.keys() >= {"fence", "node", "retryCount", "lostCount", "jobType", "status", "createdAt"}


def run_until_drained(folder: Path) -> None:
    """Run everything that waits, in a process of its own, as a node does."""
    script = """
import asyncio, os
from datetime import timedelta
from mainspring.cli.application import load_app
from mainspring.domain.access import Scope
from mainspring.store.runs import executions

async def drain():
    app = load_app(None)
    async with app.running() as node:
        commands, actor = app.commands_and_actor()
        waiting = await app.opened.database.read(
            lambda connection: executions.find(connection, actor.scope, executions.Filter(), most=100)
        )
        for execution in waiting:
            await commands.wait(actor.scope, execution.id, timeout=timedelta(seconds=20))

asyncio.run(drain())
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder, stdout=subprocess.DEVNULL)


def test_the_doctor_finds_a_new_store_well_and_says_that_nobody_serves_it(command: Command) -> None:
    command("db", "upgrade")

    report = answer_of(command("doctor", "--json"))

    verdicts = {check["check"]: check["verdict"] for check in report["checks"]}
    assert report["ok"] is True
    assert verdicts["schema"] == verdicts["writable"] == verdicts["clock"] == "ok"
    assert verdicts["nodes alive"] == "warning"


def test_the_doctor_ends_with_the_code_of_what_is_wrong(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("doctor", "--json")[0] == 5
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", "postgresql://ada@127.0.0.1:1/store")

    code, out, _ = command("doctor")

    assert code == 4
    assert "cannot be reached" in out


def test_a_first_application_comes_with_a_test_that_passes(command: Command, tmp_path: Path) -> None:
    assert command("init", "first")[0] == 0

    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    tested = subprocess.run(arguments, check=False, cwd=tmp_path / "first", capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    assert not (tmp_path / "first" / "mainspring.db").exists()


def test_init_overwrites_nothing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("mine")

    assert command("init")[0] == 3
    assert (tmp_path / "jobs.py").read_text() == "mine"
    assert not (tmp_path / "mainspring.toml").exists()


def test_a_schedule_is_paused_edited_and_given_back_to_the_code(command: Command, tmp_path: Path) -> None:
    run_until_drained(tmp_path)
    paused = answer_of(command("jobs", "pause", "add", "--reason", "too loud", "--until", "2h", "--json"))
    assert (paused["paused"], paused["enabled"]) == (True, False)
    assert answer_of(command("jobs", "resume", "add", "--json"))["enabled"] is True
    edited = answer_of(command("jobs", "cron", "add", "0 10 * * MON", "--tz", "Asia/Tokyo", "--json"))
    assert (edited["cronExpression"], edited["timezone"], edited["overridden"]) == ("0 10 * * MON", "Asia/Tokyo", True)
    assert edited["code"] == {"cronExpression": "0 9 * * MON", "timezone": "Europe/Rome"}
    assert answer_of(command("jobs", "disable", "add", "--json"))["nextRunAt"] is None
    reset = answer_of(command("jobs", "cron", "add", "--reset", "--json"))
    assert (reset["cronExpression"], reset["overridden"], reset["enabled"]) == ("0 9 * * MON", False, True)
    assert answer_of(command("jobs", "enable", "add", "--json"))["enabled"] is True


def test_what_became_of_past_instants_is_told_and_made_up_for(command: Command, tmp_path: Path) -> None:
    run_until_drained(tmp_path)
    assert answer_of(command("jobs", "ticks", "add", "--json")) == []
    span = "--from", "2026-10-05T00:00+00:00", "--to", "2026-10-20T00:00+00:00"
    planned = answer_of(command("jobs", "backfill", "add", *span, "--dry-run", "--json"))
    assert planned["instants"] == [f"2026-10-{day}T07:00:00.000Z" for day in ("05", "12", "19")]
    assert answer_of(command("jobs", "ticks", "add", "--json")) == []
    assert answer_of(command("jobs", "backfill", "add", *span, "--json")) == planned | {"dryRun": False}
    again = answer_of(command("jobs", "backfill", "add", *span, "--json"))
    assert (again["instants"], again["firedBefore"]) == ([], planned["instants"])
    told = answer_of(command("jobs", "ticks", "add", "--json"))
    assert [(tick["outcome"], tick["reason"]) for tick in told] == [("fired", "backfill")] * 3
    assert "somebody asked for it afterwards" in command("jobs", "ticks", "add")[1]


def test_a_schedule_command_that_cannot_be_done_says_why(command: Command, tmp_path: Path) -> None:
    run_until_drained(tmp_path)
    for arguments, code, told in (
        (("ticks", "nobody"), 1, "no job is called 'nobody'"),
        (("pause", "refuse"), 1, "has no schedule"),
        (("cron", "add", "61 * * * *"), 1, "61 is out of range"),
        (("cron", "add"), 2, "--reset"),
        (("pause", "add", "--until", "yesterday"), 2, "no time"),
        (("pause", "add", "--until", "2020-01-01T00:00"), 3, "past"),
    ):
        done = command("jobs", *arguments)
        assert (done[0], told in done[2]) == (code, True), done


def test_everything_is_paused_until_it_is_resumed_and_a_past_end_is_refused(command: Command) -> None:
    paused = answer_of(command("jobs", "pause-all", "--reason", "incident 7", "--until", "2h", "--stop-runs", "--json"))
    assert (paused["paused"], paused["stopped"], paused["until"] is None) == (True, 0, False)
    assert "resume-all" in command("jobs", "pause-all")[1]
    assert answer_of(command("jobs", "resume-all", "--json")) == {"paused": False, "until": None, "stopped": 0}
    assert "fire" in command("jobs", "resume-all")[1]
    assert command("jobs", "pause-all", "--until", "2020-01-01T00:00")[0] == 3
