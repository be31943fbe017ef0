"""The garbage collector under a node: seldom, and never against the choice of the program."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from mainspring.runtime import garbage_collection

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    thresholds = gc.get_threshold()
    garbage_collection.relax.cache_clear()
    yield
    garbage_collection.relax.cache_clear()
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.parametrize(("chosen", "kept"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_the_threshold_is_raised_unless_the_program_has_chosen_more_or_none(chosen: int, kept: int) -> None:
    gc.set_threshold(chosen, 10, 10)
    garbage_collection.relax()
    assert gc.get_threshold() == (kept, 10, 10)


def test_what_was_loaded_before_the_first_node_is_left_alone_and_what_comes_later_is_not() -> None:
    gc.unfreeze()
    garbage_collection.relax()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    garbage_collection.relax()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("chosen", [True, False])
def test_it_is_off_while_a_program_is_loaded_and_then_as_it_was(*, chosen: bool) -> None:
    if not chosen:
        gc.disable()
    try:
        with garbage_collection.paused():
            assert not gc.isenabled()
        assert gc.isenabled() is chosen
    finally:
        gc.enable()
