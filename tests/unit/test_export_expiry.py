"""Old exports are removed by the nodes themselves."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from mainspring import Mainspring
from mainspring.reports.local_storage import LocalStorage
from mainspring.runtime.export_expiry import ExportExpiry
from mainspring.runtime.loop import Turn
from mainspring.testing.simulation.virtual_time import run_in_virtual_time
from mainspring.testing.simulation.world import Chance, SimulatedWorld
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2024, 1, 31, tzinfo=UTC)


class FixedWorld(RealWorld):
    def now(self) -> datetime:
        return NOW


def touch(folder: Path, name: str, age: timedelta) -> str:
    (folder / name).touch()
    instant = (NOW - age).timestamp()
    os.utime(folder / name, (instant, instant))
    return name


async def test_exports_go_after_their_lifetime_and_leftovers_after_a_day(tmp_path: Path) -> None:
    moment = timedelta(seconds=1)
    kept = {
        touch(tmp_path, f"quotes_2024-01-29_{UUID(int=1)}.csv", timedelta(days=2) - moment),
        touch(tmp_path, f".{UUID(int=2)}.1.part", timedelta(days=1) - moment),
        touch(tmp_path, "somebody else's.csv", timedelta(days=400)),
    }
    touch(tmp_path, f"quotes_2024-01-29_{UUID(int=3)}.csv", timedelta(days=2) + moment)
    touch(tmp_path, f".{UUID(int=4)}.7.part", timedelta(days=1) + moment)
    expiry = ExportExpiry(LocalStorage(tmp_path), lifetime=timedelta(days=2), world=FixedWorld())
    assert await expiry.run_once() == Turn(did=2)
    assert {path.name for path in tmp_path.iterdir()} == kept  # noqa: ASYNC240 - a handful of files
    assert await expiry.run_once() == Turn(did=0)


async def test_every_node_does_it(tmp_path: Path) -> None:
    app = Mainspring(database_url="sqlite://", export_dir=tmp_path)
    async with app.running() as node:
        assert "export-expiry" in {loop.name for loop in node.loops}


def test_a_node_on_a_simulated_clock_leaves_the_files_of_the_real_machine_alone(tmp_path: Path) -> None:
    async def loops() -> set[str]:
        app = Mainspring(world=SimulatedWorld(Chance(1)), database_url="sqlite://", export_dir=tmp_path)
        async with app.running() as node:
            return {loop.name for loop in node.loops}

    begun = run_in_virtual_time(loops())
    assert "rescue" in begun
    assert "export-expiry" not in begun
