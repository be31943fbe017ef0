"""The judge of a soak. The soak itself says nothing in seconds: `./dev prove soak` takes an hour."""

from __future__ import annotations

import os
from math import sin

import pytest

from mainspring.testing.simulation.world import Chance
from tests.cluster.soak_figures import Figures, below, of_a_node, processes
from tests.cluster.soak_judge import Limit, Point, Series, judge, tenths

MEMORY = Limit(share=0.02, least=1.5)


def judged(points: list[Point], limit: Limit = MEMORY) -> bool:
    found = judge(Series("memory", "MiB", limit, points))
    assert found is not None
    return found.is_flat


def grown(each_second: float, *, begin: float = 100.0) -> list[Point]:
    """Return ten minutes of a figure that grows, with noise and a wild peak now and then."""
    chance = Chance(1)
    return [
        (float(at), begin + each_second * at + chance.uniform(-1, 1) + (40.0 if at % 50 == 0 else 0.0))
        for at in range(0, 600, 2)
    ]


def test_noise_peaks_and_the_warm_up_are_no_growth() -> None:
    assert judged(grown(0.0))
    assert judged([(at, min(100.0, 40.0 + at)) for at, _ in grown(0.0)])
    assert judged([(at, 100.0 + 1.4 * sin(at / 20)) for at, _ in grown(0.0)])


@pytest.mark.parametrize("each_second", [0.01, 0.1])
def test_a_leak_is_found_under_noise(each_second: float) -> None:
    assert not judged(grown(each_second))


def test_what_shrinks_is_flat() -> None:
    assert judged(grown(-0.05))


def test_a_figure_that_was_hardly_looked_at_is_not_judged() -> None:
    assert judge(Series("memory", "MiB", MEMORY, [(0.0, 1.0), (1.0, 2.0)])) is None
    assert judge(Series("memory", "MiB", MEMORY)) is None


def test_the_last_tenth_is_held_against_the_first_after_the_warm_up() -> None:
    waits = [(float(at), 5.0 if at < 250 else 0.01 if at < 900 else 0.5) for at in range(1000)]
    assert tenths(waits, 0.99) == (0.01, 0.5)
    assert tenths([], 0.99) is None


def test_a_process_is_looked_at_as_the_system_sees_it() -> None:
    figures, known = Figures(), processes()
    of_a_node(figures, "me", os.getpid(), 3.0)
    assert {name.split(",")[0] for name in figures.series} == {
        "resident memory", "threads", "open descriptors", "processes below it", "zombies below it",
    }  # fmt: skip
    assert figures.series["resident memory, me"].points[0][1] > 20
    assert os.getpid() in {process.pid for process in below(os.getppid(), known)}
