from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

MOST_SECONDS = 0.100
ROUNDS = 7
HEAVY_PACKAGES = {
    "alembic", "asyncpg", "fastapi", "pydantic", "pydantic_settings", "redis", "sentry_sdk", "sqlalchemy", "starlette",
    "typer",
}  # fmt: skip

STATEMENTS = ["import mainspring", "from mainspring import Job, JobFailed, JobRunnable"]
MEASURE = """
import json, sys, time
started = time.process_time()
STATEMENT
seconds = time.process_time() - started
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


class Import(NamedTuple):
    seconds: float
    packages: list[str]


def import_in_fresh_interpreter(statement: str) -> Import:
    program = MEASURE.replace("STATEMENT", statement)
    child = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return Import(*json.loads(child.stdout))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_importing_mainspring_or_the_harness_alone_takes_under_100_milliseconds(statement: str) -> None:
    # The best of several rounds, in the time of the processor: what else the machine does is not its cost.
    best = min(import_in_fresh_interpreter(statement).seconds for _ in range(ROUNDS))

    assert best < MOST_SECONDS


@pytest.mark.parametrize("statement", [*STATEMENTS, "from mainspring import Job, RedisLocks, distributed_lock"])
def test_importing_mainspring_or_the_harness_alone_loads_no_web_and_no_database_package(statement: str) -> None:
    loaded = import_in_fresh_interpreter(statement).packages

    assert "mainspring" in loaded
    assert HEAVY_PACKAGES.intersection(loaded) == set()
