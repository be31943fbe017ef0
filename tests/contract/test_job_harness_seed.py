"""The harness document: every name of its diagrams exists, where `docs/harness.md` says, and its examples run."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from mainspring import distributed_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import pytest

DOCUMENT = Path(__file__).with_name("job-harness.md")
"""A copy, word for word."""


def names_of_the_document() -> set[str]:
    """Return the classes and members of its class diagram, the types that it names there, and its states."""
    text = DOCUMENT.read_text(encoding="utf-8")
    names: set[str] = set()
    for name, body in re.findall(r"^    class (\w+) \{\n(.*?)^    \}", text, re.DOTALL | re.MULTILINE):
        names |= {name} | {f"{name}.{member}" for member in re.findall(r"\+(\w+)", body)}
        names |= set(re.findall(r": (Job\w+)", body))
    states = text.partition("stateDiagram-v2")[2].partition("```")[0]
    return names | set(re.findall(r"\b[A-Z][a-z]+(?= -->| :)", states))


def rows(repository: Path) -> Mapping[str, tuple[str, str]]:
    page = (repository / "docs" / "harness.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \| `([\w./]+)` \|$", page, re.MULTILINE)
    return {document: (python, where) for document, python, where in found}


def module_at(repository: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not where.endswith(".py"):
        return import_module(where)
    path = repository / where
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "configs", raising=False)
    return module


def test_every_name_of_the_document_has_its_row(repository: Path) -> None:
    names = names_of_the_document()
    assert {"IJobRunnable.run", "Job.timing", "JobTiming", "MyCustomCron.handleCron", "Pending"} <= names
    assert set(rows(repository)) == names


def test_every_row_leads_to_something(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    missing: list[str] = []
    for document, (python, where) in rows(repository).items():
        found: Any = module_at(repository, where, monkeypatch)
        for name in python.split("."):
            is_parameter = inspect.isclass(found) and name in inspect.signature(found).parameters
            if not (hasattr(found, name) or is_parameter):
                missing.append(document)
                break
            found = getattr(found, name, None)
    assert missing == []


def test_the_lock_knows_its_key_and_its_time_to_live() -> None:
    lock = distributed_lock("nightly", ttl=30)
    assert (lock.key, lock.ttl) == ("nightly", 30)


async def test_the_code_of_the_page_runs(repository: Path) -> None:
    page = (repository / "docs" / "harness.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        code = compile(block, "harness.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        await eval(code, {})  # noqa: S307 - our own page


# The examples --------------------------------------------------------------------------------------------------------


def run(repository: Path, folder: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(repository / "examples" / "harness" / program)],
        cwd=folder,
        env=dict(os.environ) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_a_failure_leaves_the_cron_consumer_with_an_exit_code(repository: Path, tmp_path: Path) -> None:
    ended = run(repository, tmp_path, "nightly.py", TENANTS="")
    assert ended.returncode == 1
    assert "LookupError: there are no tenants" in ended.stderr
    assert "JobFailed: job 'pregenerate-configs' failed" in ended.stderr


async def test_the_cron_consumer_works_on_one_replica_and_skips_on_the_others(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nightly = module_at(repository, "examples/harness/nightly.py", monkeypatch)
    cron = nightly.NightlyConfigs(nightly.PregenerateConfigs(["acme", "globex"]))
    async with nightly.app.connected():
        async with distributed_lock("pregenerate-configs", ttl=30):
            assert await cron.handle_cron() is None
        told = "".join(capsys.readouterr())
        assert re.search(r"lock 'pregenerate-configs' is held by .*handle_cron is skipped", told), told
        assert await cron.handle_cron() == 2


async def test_a_failed_job_reaches_the_exception_handlers_of_the_web_consumer(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = module_at(repository, "examples/harness/web.py", monkeypatch)
    transport = httpx2.ASGITransport(app=web.api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/jobs/pregenerate-configs")
        assert answer.status_code == 200
        assert answer.json().items() >= {"name": "pregenerate-configs", "status": "success", "result": 2}.items()
        monkeypatch.setattr(web, "TENANTS", [])
        answer = await client.post("/jobs/pregenerate-configs")
        assert (answer.status_code, answer.json()) == (
            500,
            {"job": "pregenerate-configs", "error": "there are no tenants"},
        )
