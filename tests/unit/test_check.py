"""`mainspring check`: each rule finds what it is there for, names the place, and leaves what is done alone."""

from __future__ import annotations

import itertools
import json
import linecache
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.checking.inspection import RULES, inspect
from mainspring.checking.rule import Severity
from mainspring.cli.init import JOBS as JOBS_OF_INIT
from mainspring.cli.main import main
from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainspring import Mainspring
    from mainspring.checking.rule import Finding

    Check = Callable[[str], list[Finding]]
    Command = Callable[..., tuple[int, str]]

HEAD = """
import asyncio, subprocess, sys, time
import time as clock
from datetime import timedelta
from time import sleep as doze
import httpx2, requests
from mainspring import Cron, Every, Job, JobConfig, JobContext, JobResult, Mainspring, Retry, Thresholds
from mainspring.locks.distributed_lock import distributed_lock

app = Mainspring(database_url="sqlite://")
HOUR = timedelta(hours=1)
HOURLY = Every(HOUR)
LOCK = distributed_lock("a", ttl=30)
DONE = dict(
    timeout=timedelta(minutes=5),
    retry=Retry(max_retries=0),
    thresholds=Thresholds(staleness=timedelta(hours=1)),
)
"""
DECLARED = {
    "MS101": (
        "@app.job('a', **DONE)\ndef a() -> None: ...",
        "@app.job('a', description='Does it.', **DONE)\ndef a() -> None: ...",
    ),
    "MS102": (
        "@app.job('a', retry=Retry())\ndef a() -> None:\n    '''Do it.'''\n    last_checkpoint = 1",
        "@app.job('a', **DONE)\ndef a() -> None:\n    '''Do it.'''",
    ),
    "MS103": (
        "@app.job('a', schedule=Cron('@daily'), **(DONE | {'retry': None}))\ndef a() -> None:\n    '''Do it.'''",
        "@app.job('a', schedule=Cron('@daily'), **DONE)\ndef a() -> None:\n    '''Do it.'''",
    ),
    "MS104": (
        "@app.job('a', schedule=Cron('@daily'), **(DONE | {'thresholds': None}))\ndef a() -> None:\n    '''Do it.'''",
        "@app.job('a', **(DONE | {'thresholds': None}))\ndef a() -> None:\n    '''Do it.'''",
    ),
    "MS105": (
        "@app.job('a', schedule=HOURLY, overlap='allow', **DONE)\ndef a() -> None:\n    '''Do it.'''",
        "@app.job('a', schedule=HOURLY, overlap='allow', **DONE)\n@LOCK\ndef a() -> None:\n    '''Do it.'''",
    ),
    "MS106": (
        "@app.job('a', **DONE)\n@distributed_lock('a', ttl=3600)\ndef a() -> None:\n    '''Do it.'''",
        "@app.job('a', **DONE)\n@distributed_lock('a', ttl=30)\ndef a() -> None:\n    '''Do it.'''",
    ),
    "MS107": (
        "@app.job('a', timeout=2 * HOUR)\nasync def a(ctx) -> None:\n    '''Do it.'''",
        "@app.job('a', timeout=2 * HOUR)\nasync def a(ctx) -> None:\n    '''Do it.'''\n    await ctx.checkpoint(1)",
    ),
}
HANDLED = {
    "MS201": (
        "try:\n    work()\nexcept Exception:  # HERE\n    pass",
        "try:\n    work()\nexcept ValueError:\n    pass\nexcept Exception as error:\n    raise RuntimeError from error",
    ),
    "MS202": (
        "try:\n    await work()\nexcept asyncio.CancelledError:  # HERE\n    tidy()",
        "try:\n    await work()\nexcept asyncio.CancelledError:\n    tidy()\n    raise",
    ),
    "MS203": (
        "for item in range(9):  # HERE\n    work(item)",
        "for item in range(9):\n    ctx.raise_if_cancelled()\n    work(item)",
    ),
    "MS204": ("time.sleep(1)  # HERE", "await asyncio.sleep(1)"),
    "MS205": ("return (await Job.run('b', work)).unwrap()  # HERE", "return await work()"),
    "MS206": ("job = await Job.run('b', work)  # HERE", "job = await Job.run('b', work)\njob.unwrap()"),
    "MS207": ("return await Job.run('b', work)  # HERE", "return (await Job.run('b', work)).unwrap()"),
    "MS208": ("print('done')  # HERE", "ctx.log('done')"),
    "MS209": (
        "await app.enqueue('b', {})  # HERE",
        "await app.enqueue('b', {}, idempotency_key=f'{ctx.execution_id}:b')",
    ),
}
RUNNABLE = "class Runnable:\n    '''Do it.'''\n    name = 'a'\n    async def run(self){}\napp.register(Runnable())"


@pytest.fixture
def check(tmp_path: Path) -> Check:
    numbers = itertools.count()

    def check(source: str) -> list[Finding]:
        path = tmp_path / f"jobs_{next(numbers)}.py"
        path.write_text(HEAD + source)
        return inspect(app_in(path).registry)

    return check


def app_in(path: Path) -> Mainspring:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def handler(body: str, *, is_async: bool = True) -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    define = "async def" if is_async else "def"
    return f"@app.job('a', **DONE)\n{define} a(ctx: JobContext):\n    '''Do it.'''\n{lines}"


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


def test_every_rule_has_a_case() -> None:
    assert {*DECLARED, *HANDLED, "MS210"} == set(RULES)


@pytest.mark.parametrize("code", DECLARED)
def test_what_is_not_declared_is_found_and_what_is_declared_is_not(check: Check, code: str) -> None:
    bad, good = DECLARED[code]
    found = [finding for finding in check(bad) if finding.code == code]
    assert [(finding.job, finding.severity) for finding in found] == [("a", RULES[code].severity)]
    assert found[0].line is not None
    assert codes(check(good)) == set()


@pytest.mark.parametrize("code", HANDLED)
def test_what_a_handler_must_not_do_is_found_at_its_line(check: Check, code: str) -> None:
    bad, good = (handler(body, is_async=code != "MS203") for body in HANDLED[code])
    (found,) = [finding for finding in check(bad) if finding.code == code]
    assert found.file is not None
    assert found.line is not None
    assert linecache.getline(found.file, found.line).endswith("# HERE\n")
    assert code not in codes(check(good))


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        (":\n        return 3", {"MS210"}),
        (":\n        return await Job.run('a', work)", set[str]()),
        (" -> Job[int]:\n        return await self._other.run()", set[str]()),
    ],
)
def test_a_runnable_goes_through_the_harness_and_returns_its_job(check: Check, rest: str, found: set[str]) -> None:
    findings = check(RUNNABLE.format(rest))
    assert codes(findings) - {"MS102", "MS107"} == found
    assert {linecache.getline(finding.file or "", finding.line or 0).split("(")[0].strip() for finding in findings} == {
        "async def run"
    }


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("clock.sleep(1)", {"MS204"}),
        ("doze(1)", {"MS204"}),
        ("requests.get('x').json()", {"MS204"}),
        ("requests.Session().get('x')", {"MS204"}),
        ("httpx2.get('x')", {"MS204"}),
        ("async with httpx2.AsyncClient() as client:\n    await client.get('x')", set[str]()),
        ("def on_a_thread():\n    time.sleep(1)\nawait pool(on_a_thread)", set[str]()),
        ("try:\n    work()\nexcept:\n    pass", {"MS201", "MS202"}),
        ("try:\n    work()\nexcept (ValueError, Exception):\n    ctx.log('no')", {"MS201"}),
        ("try:\n    work()\nexcept Exception:\n    return JobResult(success=False)", set[str]()),
        ("failed = 0\ntry:\n    work()\nexcept Exception:\n    failed += 1", set[str]()),
        ("try:\n    work()\nexcept Exception:\n    ctx.items(failed=1)", set[str]()),
        ("await Job.run('b', work)", {"MS205", "MS206"}),
        ("await app.enqueue('b', {}, **options)", set[str]()),
        ("time.sleep(1)  # mainspring: ignore MS204", set[str]()),
        ("time.sleep(1)  # mainspring: ignore", set[str]()),
        ("time.sleep(1)  # mainspring: ignore MS208", {"MS204"}),
    ],
)
def test_what_counts_and_what_does_not(check: Check, body: str, found: set[str]) -> None:
    assert codes(check(handler(body))) == found


def test_a_handler_on_a_thread_may_block(check: Check) -> None:
    assert codes(check(handler("time.sleep(1)\nsubprocess.run(['true'])", is_async=False))) == set()


@pytest.mark.parametrize(
    "source",
    [
        "app.job('a', description='Does it.', **DONE)(lambda: None)",
        "app.command('a', 'true', description='Does it.', **DONE)",
        "import functools\napp.job('a', description='Does it.', **DONE)(functools.partial(sorted, []))",
    ],
)
def test_what_has_no_source_of_its_own_is_held_against_what_it_declares(check: Check, source: str) -> None:
    assert check(source) == []
    assert codes(check(source.replace(", **DONE", ""))) == {"MS102"}


def test_jobs_that_came_with_mainspring_are_left_out(check: Check) -> None:
    assert check("") == []


def test_severities_are_chosen_and_unknown_codes_refused(check: Check, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(HEAD + handler("print('x')"))
    registry = app_in(tmp_path / "jobs.py").registry
    assert [each.severity for each in inspect(registry, {"MS208": Severity.ERROR})] == [Severity.ERROR]
    assert inspect(registry, {"MS208": Severity.OFF}) == []
    with pytest.raises(ConfigurationError, match="called MS999"):
        inspect(registry, {"MS999": Severity.OFF})


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    (tmp_path / "checked_jobs.py").write_text(HEAD + handler("print('x')\ntime.sleep(1)"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MAINSPRING_APP", "checked_jobs:app")

    def run(*options: str) -> tuple[int, str]:
        monkeypatch.delitem(sys.modules, "checked_jobs", raising=False)
        monkeypatch.setattr(sys, "argv", ["mainspring", "check", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def test_the_command_fails_a_ci_and_says_what_is_where_and_how_to_mend_it(command: Command) -> None:
    code, told = command()
    assert code == 1
    assert re.search(r"error +MS204 +it is asynchronous and calls `time.sleep`", told)
    assert re.search(r"checked_jobs\.py:\d+", told)
    assert "await asyncio.sleep" in told
    assert "1 job: 1 error, 1 warning" in told


def test_the_command_answers_programs_with_json(command: Command) -> None:
    code, told = command("--json", "--warning", "MS204")
    answer: dict[str, Any] = json.loads(told)
    assert (code, answer["ok"], answer["jobs"]) == (0, True, 1)
    assert [(each["code"], each["severity"]) for each in answer["findings"]] == [
        ("MS204", "warning"),
        ("MS208", "warning"),
    ]
    assert set(answer["findings"][0]) == {"code", "severity", "job", "file", "line", "message", "mend"}


def test_options_win_over_settings_and_settings_over_what_a_rule_says(command: Command, tmp_path: Path) -> None:
    assert command("--ignore", "MS204", "--ignore", "MS208", "--strict")[0] == 0
    (tmp_path / "mainspring.toml").write_text('[check]\nMS204 = "off"\n')
    assert command()[0] == 0
    assert command("--strict")[0] == 1
    assert command("--error", "MS208")[0] == 1
    assert command("--ignore", "MS9")[0] == 3
    (tmp_path / "mainspring.toml").write_text('[check]\nMS204 = "quiet"\n')
    assert command()[0] == 3


def test_the_applications_of_this_repository_are_clean(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "first.py").write_text(JOBS_OF_INIT)
    examples = sorted((repository / "examples").rglob("*.py"))
    paths = [path for path in examples if re.search(r"^app = Mainspring\(", path.read_text(), re.MULTILINE)]
    assert repository / "examples" / "first_job.py" in paths
    found: list[Finding] = []
    for path in (repository / "src/mainspring/sample/app.py", tmp_path / "first.py", *paths):
        sys.path.insert(0, str(path.parent))
        found += inspect(app_in(path).registry)
    assert [f"{each.file}:{each.line}: {each.code} {each.job}: {each.message}" for each in found] == []


def test_the_page_lists_every_rule_as_it_is(repository: Path) -> None:
    page = (repository / "docs" / "check.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (MS\d+) \| (\w+) \| ([^|]+) \|", page, re.MULTILINE)
    assert rows == [(rule.code, rule.severity.value, rule.title) for rule in RULES.values()]
