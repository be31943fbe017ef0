"""The slots of a node follow the work between two bounds, and their number does not swing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mainspring.domain.slots import (
    LOOKS_BETWEEN_STEPS_DOWN,
    LOOKS_UNTIL_GIVEN_BACK,
    LOOKS_UNTIL_GROWTH,
    LOOKS_UNTIL_IDLE,
    Pressure,
    SlotBounds,
    SlotController,
)

FREE, TIGHT, SCARCE = Pressure(cpu=0.5), Pressure(cpu=0.85), Pressure(cpu=0.99)


@pytest.fixture
def controller() -> SlotController:
    return SlotController(SlotBounds(4, 32))


def full(controller: SlotController, looks: int = 1, pressure: Pressure = FREE) -> list[int]:
    """Look while all slots are taken and more waits."""
    return [controller.look(most_running=controller.slots, more_waits=True, pressure=pressure) for _ in range(looks)]


def idle(controller: SlotController, looks: int, running: int = 0) -> list[int]:
    return [controller.look(most_running=running, more_waits=False, pressure=FREE) for _ in range(looks)]


@pytest.mark.parametrize(
    ("said", "bounds"),
    [("100", (100, 100)), (7, (7, 7)), ("4..32", (4, 32)), (" 4 .. 32 ", (4, 32)), ("8..8", (8, 8))],
)
def test_a_number_fixes_them_and_a_range_lets_them_follow(said: object, bounds: tuple[int, int]) -> None:
    read = SlotBounds.read(said)
    assert ((read.lower, read.upper), read.are_fixed) == (bounds, bounds[0] == bounds[1])


@pytest.mark.parametrize("said", ["many", "4-32", "4..", "..4", "0", "0..4", "8..4", "1..10001", "-1", True, 1.5, None])
def test_what_is_no_number_of_slots_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"slots|upper bound"):
        SlotBounds.read(said)


def test_they_begin_at_the_lower_bound_and_grow_by_half_up_to_the_upper_one(controller: SlotController) -> None:
    assert controller.slots == 4
    assert full(controller, 7) == [6, 9, 14, 21, 32, 32, 32]


@pytest.mark.parametrize(
    ("most_running", "more_waits", "pressure"),
    [
        (3, True, FREE),
        (4, False, FREE),
        (4, True, TIGHT),
        (4, True, Pressure(memory=0.9)),
        (4, True, Pressure(event_loop=0.9)),
    ],
    ids=["a slot is free", "nothing waits", "processors are tight", "memory is tight", "the event loop is busy"],
)
def test_they_do_not_grow_where_it_would_bring_nothing(
    controller: SlotController, most_running: int, *, more_waits: bool, pressure: Pressure
) -> None:
    for _ in range(20):
        assert controller.look(most_running=most_running, more_waits=more_waits, pressure=pressure) == 4


@pytest.mark.parametrize("scarce", [SCARCE, Pressure(memory=0.97)], ids=["processors", "memory"])
def test_a_quarter_is_given_back_when_a_resource_stays_scarce(controller: SlotController, scarce: Pressure) -> None:
    full(controller, 5)
    assert full(controller, 2 * LOOKS_UNTIL_GIVEN_BACK, scarce) == [32, 32, 24, 24, 24, 18]
    assert full(controller, 100, scarce)[-1] == 4


def test_a_busy_event_loop_alone_takes_none_away(controller: SlotController) -> None:
    full(controller, 5)
    assert set(full(controller, 100, Pressure(event_loop=1.0))) == {32}


def test_a_burst_of_others_takes_none_away(controller: SlotController) -> None:
    full(controller, 5)
    for _ in range(20):
        full(controller, LOOKS_UNTIL_GIVEN_BACK - 1, SCARCE)
        full(controller, 1, TIGHT)
    assert controller.slots == 32


def test_after_a_shortage_they_wait_and_then_grow_by_one_until_they_were_idle(controller: SlotController) -> None:
    full(controller, 5)
    full(controller, LOOKS_UNTIL_GIVEN_BACK, SCARCE)
    assert full(controller, LOOKS_UNTIL_GROWTH + 2) == [24] * (LOOKS_UNTIL_GROWTH - 1) + [25, 26, 27]
    idle(controller, 100)
    assert full(controller, 2) == [6, 9]


def test_half_empty_ones_are_given_back_by_and_by_after_half_a_minute(controller: SlotController) -> None:
    full(controller, 5)
    assert set(idle(controller, LOOKS_UNTIL_IDLE - 1)) == {32}
    assert idle(controller, 1) == [24]
    assert idle(controller, LOOKS_BETWEEN_STEPS_DOWN) == [24] * (LOOKS_BETWEEN_STEPS_DOWN - 1) + [18]
    assert idle(controller, 100)[-1] == 4


def test_more_than_half_of_them_in_use_keeps_them_all(controller: SlotController) -> None:
    full(controller, 5)
    assert set(idle(controller, 500, running=17)) == {32}


def test_a_moment_of_work_begins_the_half_minute_anew(controller: SlotController) -> None:
    full(controller, 5)
    for _ in range(10):
        idle(controller, LOOKS_UNTIL_IDLE - 1)
        idle(controller, 1, running=20)
    assert controller.slots == 32


@pytest.mark.parametrize("per_slot", [0.01, 0.03, 0.05])
def test_their_number_settles_where_each_slot_costs_its_share_of_the_processors(
    controller: SlotController, per_slot: float
) -> None:
    """As handlers do that compute: the band between tight and scarce is wide enough to rest in."""
    seen: list[int] = []
    for _ in range(300):
        busy = min(1.0, controller.slots * per_slot)
        seen += full(controller, 1, Pressure(cpu=busy))
    changes = sum(before != after for before, after in pairwise(seen[100:]))
    assert changes == 0, seen[100:]


@pytest.mark.parametrize("work", [1, 8, 20, 31])
def test_their_number_settles_for_work_that_stays_the_same(controller: SlotController, work: int) -> None:
    seen: list[int] = []
    for _ in range(400):
        running = min(work, controller.slots)
        seen.append(controller.look(most_running=running, more_waits=work > running, pressure=FREE))
    assert len(set(seen[100:])) == 1
    assert seen[-1] >= work


@pytest.mark.parametrize(("slots", "batch"), [("100", 500), ("1..3000", 1_500), ("4000", 2_000), ("10000", 2_000)])
def test_a_batch_is_half_of_the_slots_between_bounds(slots: str, batch: int) -> None:
    assert SlotBounds.read(slots).batch == batch
