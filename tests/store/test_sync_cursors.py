"""A cursor is moved by one running attempt at a time, and by nobody whose execution has been taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import LeaseLostError
from mainspring.store.coordination import sync_cursors
from mainspring.store.coordination.sync_cursors import CursorHeldError, CursorName

if TYPE_CHECKING:
    from mainspring.store.coordination.sync_cursors import HeldCursor
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab

NAME = CursorName("test", "contacts", "acme")


async def hold(lab: Lab, claimed: ClaimedExecution, name: CursorName = NAME) -> HeldCursor:
    return await lab.database.tx(lambda connection: sync_cursors.hold(connection, name, claimed.id, claimed.fence))


async def move(lab: Lab, held: HeldCursor, value: object) -> None:
    await lab.database.tx(lambda connection: sync_cursors.move(connection, held, value))


async def running(lab: Lab) -> ClaimedExecution:
    await lab.enqueue_one()
    return await lab.claim_one()


async def run_again(lab: Lab, claimed: ClaimedExecution) -> ClaimedExecution:
    """Give an execution back and claim it anew, as after a lost lease."""
    await lab.release(claimed)
    await lab.promote()
    return await lab.claim_one()


@pytest.mark.parametrize(
    "value", [5, 0, "2026-03-01", {"token": "hunter2", "page": [1, None]}, "nul \x00", "ü", 1.5, False]
)
async def test_a_cursor_comes_back_as_it_was_stored(lab: Lab, value: Any) -> None:
    first = await running(lab)
    held = await hold(lab, first)
    assert held.value is None
    await move(lab, held, value)
    await lab.succeed(first)
    expected = value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
    assert (await hold(lab, await running(lab))).value == expected


async def test_another_execution_is_refused_while_the_holder_runs_and_let_in_when_it_has_ended(lab: Lab) -> None:
    first, second = await running(lab), await running(lab)
    held = await hold(lab, first)
    with pytest.raises(CursorHeldError, match=f"'contacts' is being run by execution {first.id}"):
        await hold(lab, second)
    await move(lab, held, 1)
    await lab.succeed(first)
    assert (await hold(lab, second)).value == 1


async def test_an_execution_that_waits_for_its_next_attempt_holds_no_cursor(lab: Lab) -> None:
    first, second = await running(lab), await running(lab)
    await hold(lab, first)
    await lab.release(first, wait_seconds=60.0)
    await hold(lab, second)


async def test_the_next_attempt_of_the_holder_finds_the_cursor_free_and_shuts_out_the_one_before(lab: Lab) -> None:
    first = await running(lab)
    held = await hold(lab, first)
    await move(lab, held, 1)
    again = await run_again(lab, first)
    assert again.id == first.id
    with pytest.raises(LeaseLostError):
        await move(lab, held, 2)
    assert (await hold(lab, again)).value == 1
    with pytest.raises(LeaseLostError):
        await move(lab, held, 2)
    with pytest.raises(LeaseLostError):
        await hold(lab, first)


async def test_a_run_that_was_let_in_meanwhile_shuts_out_the_holder_before(lab: Lab) -> None:
    first, second = await running(lab), await running(lab)
    held = await hold(lab, first)
    await lab.release(first)
    theirs = await hold(lab, second)
    await move(lab, theirs, 7)
    await lab.promote()
    first = await lab.claim_one()
    stale = sync_cursors.HeldCursor(held.name, first.id, first.fence, held.value)
    with pytest.raises(LeaseLostError):  # it runs, and does not hold the cursor
        await move(lab, stale, 2)
    await move(lab, theirs, 8)


async def test_an_execution_that_has_ended_can_neither_hold_nor_move(lab: Lab) -> None:
    first = await running(lab)
    held = await hold(lab, first)
    await lab.succeed(first)
    with pytest.raises(LeaseLostError):
        await move(lab, held, 1)
    with pytest.raises(LeaseLostError):
        await hold(lab, first)
    assert (await hold(lab, await running(lab))).value is None


@pytest.mark.parametrize(
    "other",
    [
        CursorName("staging", "contacts", "acme"),
        CursorName("test", "orders", "acme"),
        CursorName("test", "contacts", "globex"),
        CursorName("test", "contacts", None),
    ],
)
async def test_environments_syncs_and_organizations_have_cursors_of_their_own(lab: Lab, other: CursorName) -> None:
    first, second = await running(lab), await running(lab)
    await move(lab, await hold(lab, first), 1)
    held = await hold(lab, second, other)
    assert held.value is None
    await move(lab, held, 2)
    await lab.succeed(first)
    assert (await hold(lab, second)).value == 1


@pytest.mark.parametrize("is_new", [True, False])
async def test_of_many_that_ask_at_once_one_is_let_in(lab: Lab, *, is_new: bool) -> None:
    if not is_new:
        before = await running(lab)
        await hold(lab, before)
        await lab.succeed(before)
    everybody = [await running(lab) for _ in range(8)]
    answers = await asyncio.gather(*(hold(lab, each) for each in everybody), return_exceptions=True)
    assert sum(isinstance(answer, sync_cursors.HeldCursor) for answer in answers) == 1
    assert sum(isinstance(answer, CursorHeldError) for answer in answers) == 7
