"""What running handlers say: it counts only under the fence of the attempt that says it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mainspring.domain.execution import Progress
from mainspring.store.queue import progress_reports
from mainspring.store.queue.progress_reports import Report
from mainspring.store.runs import run_logs
from mainspring.store.runs.run_logs import WrittenLine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab

SAID = Progress(
    percent=40,
    current_step=2,
    total_steps=5,
    message="halfway",
    items_processed=2**40,
    items_succeeded=8,
    items_failed=1,
)


async def write(
    lab: Lab,
    *,
    reports: Sequence[Report] = (),
    beats: Sequence[tuple[UUID, int]] = (),
    lines: Sequence[WrittenLine] = (),
) -> None:
    await lab.database.tx(lambda connection: progress_reports.write(connection, reports=reports, beats=beats))
    await lab.database.tx(lambda connection: run_logs.write(connection, lines))


def line(lab: Lab, claimed: ClaimedExecution, message: str, *, fence: int | None = None) -> WrittenLine:
    at = lab.world.now()
    return WrittenLine(claimed.id, fence or claimed.fence, claimed.attempt, at, "info", message, '{"a": 1}')


async def lines_of(lab: Lab, execution_id: UUID, **options: Any) -> list[str]:
    rows = await lab.database.read(lambda connection: run_logs.lines_of(connection, execution_id, **options))
    return [row.message for row in rows]


async def test_progress_is_kept_with_a_sign_of_life(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    await write(lab, reports=[Report(claimed.id, claimed.fence, SAID)])
    found = await lab.get(claimed.id)
    assert found.progress == SAID
    assert found.last_heartbeat is not None
    await lab.fail(claimed)
    assert (await lab.get(claimed.id)).progress == SAID


async def test_a_beat_is_a_sign_of_life_alone(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    await write(lab, beats=[(claimed.id, claimed.fence)])
    found = await lab.get(claimed.id)
    assert found.last_heartbeat is not None
    assert found.progress == Progress()


async def test_what_a_fenced_attempt_says_is_dropped_and_what_others_say_is_kept(lab: Lab) -> None:
    await lab.enqueue_one()
    old = await lab.claim_one()
    await lab.release(old)
    await lab.enqueue_one()
    other, held = sorted(await lab.claim(), key=lambda item: item.id == old.id)
    await write(
        lab,
        reports=[Report(old.id, old.fence, SAID), Report(other.id, other.fence, SAID)],
        beats=[(old.id, old.fence)],
        lines=[line(lab, held, "late", fence=old.fence), line(lab, other, "kept"), line(lab, held, "now")],
    )
    fenced = await lab.get(old.id)
    assert (fenced.progress, fenced.last_heartbeat) == (Progress(), None)
    assert (await lab.get(other.id)).progress == SAID
    assert (await lines_of(lab, held.id), await lines_of(lab, other.id)) == (["now"], ["kept"])


async def test_lines_keep_their_order_and_are_read_on_from_any_of_them(lab: Lab) -> None:
    await lab.enqueue(lab.new(), lab.new())
    one, two = await lab.claim()
    said = [f"line {number}" for number in range(300)]
    await write(lab, lines=[line(lab, one if number % 2 else two, text) for number, text in enumerate(said)])
    assert await lines_of(lab, two.id) == said[::2]
    rows = await lab.database.read(lambda connection: run_logs.lines_of(connection, one.id, most=3))
    assert [row.message for row in rows] == said[1:6:2]
    assert (await lines_of(lab, one.id, after=rows[-1].id))[0] == said[7]


async def test_lines_of_some_levels_are_read_alone(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    levels = ("debug", "warning", "info", "error")
    await write(lab, lines=[replace(line(lab, claimed, level), level=level) for level in levels])
    assert await lines_of(lab, claimed.id, levels={"error", "warning"}) == ["warning", "error"]


async def test_a_line_keeps_its_instant_level_and_fields(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    written = line(lab, claimed, "told")
    await write(lab, lines=[written])
    (row,) = await lab.database.read(lambda connection: run_logs.lines_of(connection, claimed.id))
    assert (row.at, row.level, row.fields, row.attempt) == (written.at, "info", '{"a": 1}', 1)


async def test_a_text_that_no_database_takes_loses_no_line_of_others(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    said = Progress(message="\x00 \udc80")
    await write(
        lab,
        reports=[Report(claimed.id, claimed.fence, said)],
        lines=[line(lab, claimed, text) for text in ("nul \x00", "alone \ud83d", "fine", "long " + "x" * 100_000)],
    )
    kept = await lines_of(lab, claimed.id)
    assert kept[:3] == ["nul �", "alone ?", "fine"]
    assert len(kept[3]) < 10_000
    assert (await lab.get(claimed.id)).progress.message == "� ?"


async def test_a_checkpoint_is_handed_to_the_next_attempt(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()

    async def save(item: ClaimedExecution, value: object) -> bool:
        return await lab.database.tx(
            lambda connection: progress_reports.save_checkpoint(connection, item.id, item.fence, value)
        )

    assert await save(claimed, {"page": 7})
    await lab.release(claimed)
    assert not await save(claimed, {"page": 8})
    again = await lab.claim_one()
    assert again.checkpoint == '{"page":7}'
    assert not await save(claimed, {"page": 9})
