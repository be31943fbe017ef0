"""Python under a node: set up for many attempts, and never against the choice of the program."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from mainspring.runtime import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator


def _forget() -> None:
    interpreter.suit_a_node.cache_clear()
    interpreter.leave_alone_once.cache_clear()


@pytest.fixture(autouse=True)
def _interpreter_as_it_was() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    thresholds, turn = gc.get_threshold(), sys.getswitchinterval()
    _forget()
    yield
    _forget()
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    sys.setswitchinterval(turn)


@pytest.mark.parametrize(("chosen", "kept"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_the_threshold_is_raised_unless_the_program_has_chosen_more_or_none(chosen: int, kept: int) -> None:
    gc.set_threshold(chosen, 10, 10)
    interpreter.suit_a_node()
    assert gc.get_threshold() == (kept, 10, 10)


def test_what_was_loaded_before_the_first_node_is_left_alone_and_what_comes_later_is_not() -> None:
    gc.unfreeze()
    interpreter.suit_a_node()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    interpreter.suit_a_node()
    assert gc.get_freeze_count() == frozen


def test_a_part_that_is_loaded_later_is_left_alone_too_once_a_process() -> None:
    interpreter.suit_a_node()
    before = gc.get_freeze_count()
    doors = [[number] for number in range(1000)]
    interpreter.leave_alone_once("doors")
    assert gc.get_freeze_count() >= before + len(doors)
    frozen = gc.get_freeze_count()
    pages = [[number] for number in range(1000)]
    interpreter.leave_alone_once("doors")
    assert gc.get_freeze_count() <= frozen
    interpreter.leave_alone_once("dashboard")
    assert gc.get_freeze_count() >= frozen + len(pages) // 2


@pytest.mark.parametrize("chosen", [True, False])
def test_it_is_off_while_a_program_is_loaded_and_then_as_it_was(*, chosen: bool) -> None:
    if not chosen:
        gc.disable()
    try:
        with interpreter.collecting_nothing():
            assert not gc.isenabled()
        assert gc.isenabled() is chosen
    finally:
        gc.enable()


@pytest.mark.parametrize(("chosen", "kept"), [(0.005, 0.001), (0.02, 0.02), (0.0001, 0.0001)])
def test_threads_take_turns_after_a_millisecond_unless_the_program_has_chosen(chosen: float, kept: float) -> None:
    sys.setswitchinterval(chosen)
    interpreter.suit_a_node()
    assert sys.getswitchinterval() == pytest.approx(kept)
