"""Nodes seal the audit within a second, and tell its head to the log."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mainspring.domain.access import Actor
from mainspring.runtime.sealing import PUBLISH_SECONDS, Sealing
from mainspring.security.audit import Audit, Target
from mainspring.security.audit_chain import verify_store
from mainspring.security.secret_key import Purpose, SecretKey, secret_key_in_force
from mainspring.store.auditing import audit_chain
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mainspring import Mainspring
    from tests.runtime.conftest import MakeApp

SECRET_KEY = "the secret key of the tests, 32 bytes"
KEY = SecretKey(SECRET_KEY.encode()).derive(Purpose.AUDIT)
ROOT = Actor.at_terminal("dev", "root")


class HandWoundWorld(RealWorld):
    """A world whose seconds pass when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self.seconds


async def act(app: Mainspring, key: bytes = KEY) -> None:
    """Do something that the audit tells of."""
    trail = Audit(app.opened.database, app.world, key)
    await app.opened.database.tx(
        lambda connection: trail.record(connection, ROOT, "job.trigger", Target("job", "nightly"))
    )


def heads_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message.rpartition(" ")[2] for record in caplog.records if record.name.endswith("sealing")]


async def test_a_node_seals_what_happens_while_it_runs_and_what_is_left_when_it_stops(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(secret_key=SECRET_KEY)
    with caplog.at_level(logging.INFO, "mainspring.runtime.sealing"):
        async with app.connected():
            database = app.opened.database
            async with app.running(roles=["api"]) as node:
                assert "seal" in [loop.name for loop in node.loops]
                await act(app)
                async with asyncio.timeout(10):
                    while await database.read(audit_chain.is_waiting):
                        await asyncio.wait([app.world.spawn(app.world.sleep(0.05), name="pause")])
                await act(app)
            verified = await verify_store(database, KEY)
    assert (verified.entries, verified.waiting) == (2, 0)
    assert heads_in(caplog)[-1] == str(verified.head)


async def test_the_head_is_told_once_a_minute_and_only_when_it_has_moved(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app, world = make_app(secret_key=SECRET_KEY), HandWoundWorld()
    async with app.connected():
        sealing = Sealing(app.opened.database, app.settings, world)
        with caplog.at_level(logging.INFO, "mainspring.runtime.sealing"):
            for _ in range(3):
                await act(app)
                assert (await sealing.run_once()).did == 1
            assert [head.partition(":")[0] for head in heads_in(caplog)] == ["1"]
            world.seconds += PUBLISH_SECONDS
            for _ in range(2):
                assert (await sealing.run_once()).did == 0
            assert [head.partition(":")[0] for head in heads_in(caplog)] == ["1", "3"]
            await sealing.stop()
            assert len(heads_in(caplog)) == 2


async def test_without_a_secret_key_nothing_is_sealed_until_there_is_one(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    async with app.connected():
        sealing = Sealing(app.opened.database, app.settings, app.world)
        await act(app)
        assert (await sealing.run_once()).did == 0
        assert not (tmp_path / "store.db.key").exists()
        secret_key_in_force(app.settings, app.world)
        assert (await sealing.run_once()).did == 1
