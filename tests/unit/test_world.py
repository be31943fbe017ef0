"""The world of production, and its seams for tests."""

from __future__ import annotations

from mainspring import Mainspring
from mainspring.world import RealWorld, World


def chances(world: World) -> list[float]:
    return [world.random() for _ in range(3)]


def test_a_seed_makes_chance_repeat_but_neither_ids_nor_secrets() -> None:
    one, other = RealWorld(seed=7), RealWorld(seed=7)

    assert chances(one) == chances(other) != chances(RealWorld())
    assert (one.new_id(), one.token()) != (other.new_id(), other.token())


def test_an_application_takes_its_chances_from_the_seed_of_its_settings() -> None:
    seeded = Mainspring(test_mode=True, test_seed=7)

    assert chances(seeded.world) == chances(RealWorld(seed=7))
