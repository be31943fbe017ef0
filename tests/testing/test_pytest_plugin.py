"""The plugin of pytest, in a pytest of its own: a fixture for those who ask, and nothing for others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
from mainspring import Cron, Mainspring

app = Mainspring(log_format="json")

@app.job("receipt", schedule=Cron("0 9 * * *"))
async def receipt() -> str:
    return "printed"

other = Mainspring(log_format="json")
"""
ASYNCIO = 'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"'


class Bench:
    """A folder with an application and its tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "shop.py").write_text(SHOP)

    def run(self, tests: str, *settings: str, plugins: str = "pytest_asyncio.plugin") -> str:
        """Run tests in an interpreter of their own, and return what it said."""
        (self._folder / "pyproject.toml").write_text(
            "\n".join(["[tool.pytest.ini_options]", 'pythonpath = ["."]', 'filterwarnings = ["error"]', *settings])
        )
        (self._folder / "test_shop.py").write_text(tests)
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", plugins, "-p", "mainspring.testing.pytest_plugin"],
            cwd=self._folder,
            env=dict(os.environ) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        return ended.stdout + ended.stderr


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_kit_is_a_fixture_with_the_application_of_the_settings_or_of_a_fixture(bench: Bench) -> None:
    said = bench.run(
        """
from datetime import UTC, datetime, timedelta
import pytest
from mainspring.testing import Kit

MORNING = datetime(2026, 3, 1, 8, 59, 59, tzinfo=UTC)

@pytest.mark.mainspring(at=MORNING)
class TestSchedule:
    async def test_it_fires(self, mainspring_kit: Kit) -> None:
        (run,) = await mainspring_kit.advance(timedelta(seconds=1))
        assert (run.job_name, run.result) == ("receipt", "printed")

    @pytest.mark.mainspring(inline=True)
    async def test_it_runs_inline(self, mainspring_kit: Kit) -> None:
        assert mainspring_kit.clock.now == MORNING
        assert mainspring_kit.executions() == []
        assert await (await mainspring_kit.app.enqueue("receipt")).wait() == "printed"

class TestOther:
    @pytest.fixture
    def mainspring_app(self):
        import shop
        return shop.other

    async def test_it_is_another(self, mainspring_kit: Kit) -> None:
        assert "receipt" not in mainspring_kit.app.registry
""",
        ASYNCIO,
        'mainspring_app = "shop:app"',
    )
    assert "3 passed" in said, said


def test_it_works_with_anyio_too(bench: Bench) -> None:
    said = bench.run(
        """
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_it_runs(mainspring_kit, anyio_backend) -> None:
    await mainspring_kit.app.enqueue("receipt")
    assert [run.result for run in await mainspring_kit.drain()] == ["printed"]
""",
        'mainspring_app = "shop:app"',
        plugins="anyio.pytest_plugin",
    )
    assert "1 passed" in said, said


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("", "does not know which application to test"),
        ('mainspring_app = "shop:missing"', "leads nowhere"),
        ('mainspring_app = "shop:Cron"', "is a type, and no Mainspring"),
    ],
)
def test_who_asks_for_the_kit_of_no_application_is_told_how_to_name_it(bench: Bench, setting: str, told: str) -> None:
    said = bench.run("async def test_it(mainspring_kit) -> None: ...", ASYNCIO, setting)
    assert told in said, said


def test_nothing_is_imported_for_tests_that_do_not_ask(bench: Bench) -> None:
    said = bench.run(
        """
import sys

def test_it() -> None:
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not {"sqlalchemy", "fastapi", "pydantic"} & loaded
""",
        ASYNCIO,
    )
    assert "1 passed" in said, said


def test_the_plugin_is_announced_to_pytest(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plugin = import_module(project["entry-points"]["pytest11"]["mainspring"])
    assert plugin.mainspring_kit
    assert re.search(r"mainspring_kit", plugin.__doc__ or "")
