"""Virtual time passes when everybody waits, in one order, and never stands still for ever."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.testing.simulation.virtual_time import SimulationStuckError, run_in_virtual_time
from mainspring.testing.simulation.world import START, Chance, ProcessDied, SimulatedWorld


def chance(seed: int = 1) -> Chance:
    return Chance(seed)


def test_a_month_passes_at_once() -> None:
    async def main() -> float:
        world = SimulatedWorld(chance())
        await world.sleep(30 * 86_400)
        return (world.now() - START).total_seconds()

    assert run_in_virtual_time(main()) == 30 * 86_400


def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)  # noqa: TID251 - the loop under test
        woken.append(seconds)

    async def main() -> None:
        await asyncio.gather(*map(sleeper, (3.0, 1.0, 2.0, 1.5)))

    run_in_virtual_time(main())
    assert woken == [1.0, 1.5, 2.0, 3.0]


def test_a_simulation_that_waits_for_nothing_is_told() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationStuckError):
        run_in_virtual_time(main())


def test_chance_and_ids_follow_from_the_seed() -> None:
    async def main(seed: int) -> list[object]:
        world = SimulatedWorld(chance(seed))
        return [world.random(), world.new_id(), world.token()]

    assert run_in_virtual_time(main(1)) == run_in_virtual_time(main(1))
    assert run_in_virtual_time(main(1)) != run_in_virtual_time(main(2))


def test_a_dead_process_does_nothing_more() -> None:
    done: list[str] = []

    async def main() -> None:
        world = SimulatedWorld(chance())

        async def work() -> None:
            try:
                await world.sleep(10)
            finally:
                done.append("stopped")
                await world.sleep(1)
                done.append("cleaned up")

        task = world.spawn(work(), name="work")
        await asyncio.sleep(1)  # noqa: TID251 - the loop under test
        world.die()
        await asyncio.wait({task})
        with pytest.raises(ProcessDied):
            world.spawn(work(), name="again")

    run_in_virtual_time(main())
    assert done == ["stopped"]


def test_a_process_dies_at_a_crash_point_if_chance_will_have_it() -> None:
    async def main(likelihood: float) -> bool:
        world = SimulatedWorld(chance(), crash_chance=lambda: likelihood)
        try:
            world.crash_point("after_claim")
        except ProcessDied:
            return world.dead
        return world.dead

    assert run_in_virtual_time(main(1.0))
    assert not run_in_virtual_time(main(0.0))
