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


WHEN_ASKED_FOR = {"mainspring.api.doors", "mainspring.api.v1_jobs", "mainspring.web.app", "jinja2"}
WHEN_USED = {"httpx2", "rich", "sentry_sdk", "opentelemetry.sdk", "redis"}
ON_POSTGRESQL = {"asyncpg", "sqlalchemy.orm", "sqlalchemy.ext.asyncio"}
START = """
import json, sys
from mainspring import Mainspring
import mainspring.cli.serve, mainspring.runtime.node
from mainspring.api.app import create_api
app = Mainspring(database_url="sqlite://", secret_key="0" * 64)
create_api(app)
print(json.dumps(sorted(sys.modules)))
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


def test_a_node_on_sqlite_starts_without_what_only_requests_and_other_nodes_need() -> None:
    child = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True)
    loaded: set[str] = set(json.loads(child.stdout))

    assert {"mainspring.api.app", "mainspring.api.health", "mainspring.runtime.node"} <= loaded
    assert loaded & (WHEN_ASKED_FOR | WHEN_USED | ON_POSTGRESQL) == set()
