"""Two nodes that crash, stop, lose answers and come back, on a virtual clock: whatever happens, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mainspring.testing.simulation import Plan, simulate

PLAN = Plan(executions=24, storm=20.0)
SMALL = Plan(executions=15, storm=15.0)


@pytest.mark.parametrize("seed", range(12))
def test_every_accepted_execution_ends_once_and_explains_its_attempts(seed: int) -> None:
    report = simulate(seed, PLAN)
    assert report.problems == []
    assert report.accepted > 10
    assert report.claims > 10


def test_the_storm_is_one() -> None:
    reports = [simulate(seed, SMALL) for seed in range(6)]
    assert sum(report.crashes for report in reports) > 6
    assert sum(report.stops for report in reports) > 3


def test_a_seed_replays_bit_for_bit() -> None:
    first, second = (simulate(7, SMALL, keep_trace=True) for _ in range(2))
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert first.events > 1_000


def test_another_seed_is_another_story() -> None:
    assert simulate(7, SMALL).digest != simulate(8, SMALL).digest


def test_a_seed_replays_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from mainspring.testing.simulation import Plan, simulate\n"
        "print(simulate(7, Plan(executions=15, storm=15.0)).digest)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    assert told == [simulate(7, SMALL).digest] * 2
