"""The world of production, and its seams for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mainspring import Mainspring
from mainspring.world import RealWorld, World

if TYPE_CHECKING:
    import pytest


def chances(world: World) -> list[float]:
    return [world.random() for _ in range(3)]


def test_a_seed_makes_chance_repeat_but_neither_ids_nor_secrets() -> None:
    one, other = RealWorld(seed=7), RealWorld(seed=7)

    assert chances(one) == chances(other) != chances(RealWorld())
    assert (one.new_id(), one.token()) != (other.new_id(), other.token())


def test_ids_of_one_millisecond_sort_in_the_order_in_which_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    began = 1_790_000_000_123 * 1_000_000
    instants = [began + nanoseconds for nanoseconds in range(0, 1_000_000, 500)]
    monkeypatch.setattr(time, "time_ns", iter(instants).__next__)
    world = RealWorld()

    ids = [world.new_id() for _ in instants]

    assert ids == sorted(ids)
    assert {(found.version, found.int >> 80) for found in ids} == {(7, 1_790_000_000_123)}


def test_an_application_takes_its_chances_from_the_seed_of_its_settings() -> None:
    seeded = Mainspring(test_mode=True, test_seed=7)

    assert chances(seeded.world) == chances(RealWorld(seed=7))
