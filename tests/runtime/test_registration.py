"""What an application declares when a node of it starts: what is gone is retired, and older builds undo nothing."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from mainspring import Cron, Mainspring
from mainspring.domain.code_version import UnorderedVersionError
from mainspring.store.jobs import definitions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    MakeApp = Callable[..., Mainspring]
    Start = Callable[..., Awaitable[dict[str, str | None]]]

LOGGER = "mainspring.control.registration"


@pytest.fixture
def start(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a node of `shop:app` with some jobs and stop it, and return when each job that is in code then fires."""

    async def start_node(
        *jobs: str, cron: str = "0 9 * * *", is_shop: bool = True, **settings: str | None
    ) -> dict[str, str | None]:
        app = make_app(app="shop:app", **settings)
        shop = ModuleType("shop")
        vars(shop)["app"] = app if is_shop else None
        monkeypatch.setitem(sys.modules, "shop", shop)
        for name in jobs:

            @app.job(name, schedule=Cron(cron))
            async def _job() -> None: ...

        async with app.running(roles=[]):
            environment = app.settings.environment
            found = await app.opened.database.read(lambda connection: definitions.find(connection, environment))
        return {
            job.name: job.schedule.code.expression if job.schedule else None
            for job in found
            if job.name in {"keep", "drop"}
        }

    return start_node


async def test_a_job_that_is_gone_from_code_is_retired_and_comes_back_with_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await start("keep", "drop")
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        assert set(await start("keep")) == {"keep"}
    assert [record.getMessage() for record in caplog.records if record.name == LOGGER] == [
        "no longer in the code of shop:app, and retired: drop"
    ]
    assert set(await start("keep", "drop")) == {"keep", "drop"}


async def test_another_program_with_the_same_settings_retires_nothing(start: Start) -> None:
    await start("keep", "drop")
    assert set(await start("keep", is_shop=False)) == {"keep", "drop"}


async def test_a_node_of_an_older_build_leaves_what_a_newer_one_has_said_and_says_so(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await start("keep", "drop", code_version="1.9.0")
    await start("keep", cron="0 8 * * *", code_version="1.10.0")
    for version in ("1.9.0", None):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger=LOGGER):
            assert await start("keep", "drop", code_version=version) == {"keep": "0 8 * * *"}
        [said] = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert said.startswith(f"this build ({version or 'without a version'}) is older than one that has declared")


async def test_a_version_without_an_order_is_refused_at_the_start(start: Start) -> None:
    with pytest.raises(UnorderedVersionError, match=r"1\.4\.2"):
        await start("keep", code_version="deadbeef")
