"""Nothing accepted is lost and nothing is recorded twice, whatever falls over; and the judge who says so."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.chaos_ledger import Facts, Freeze, Kill, Recovery, Verdict, judge
from tests.cluster.nodes_under_chaos import Trial, run
from tests.cluster.restartable_postgresql import restartable_postgresql

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.timeout(120)
async def test_what_is_accepted_ends_once_through_kills_freezes_and_a_sudden_end_of_the_database() -> None:
    trial = Trial(nodes=2, jobs=240, seconds=4, kills=1, freezes=1, restarts=1)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, restartable_postgresql(Path(name), "chaos") as server:
        verdict, facts = await run(server, Path(name), trial)
    assert verdict.problems == []
    assert (len(facts.kills), len(facts.freezes), len(facts.restarts)) == (1, 1, 1)
    assert verdict.succeeded + verdict.poisonous == verdict.executions >= len(facts.accepted) > 0


# ---- The judge ------------------------------------------------------------------------------------------------------

Line = tuple[float, str, int, int, str]
FIRST: list[Line] = [(1, "begin", 1, 7, "n1"), (2, "done", 1, 7, "n1")]
AGAIN: list[Line] = [(3, "begin", 2, 9, "n2"), (4, "done", 2, 9, "n2")]
ONCE = {1: ("succeeded", 7)}
TWICE = {1: ("lost", 7), 2: ("succeeded", 9)}


def judged(
    folder: Path,
    lines: list[Line],
    attempts: Mapping[int, tuple[str | None, int]],
    status: str = "succeeded",
    **told: Any,
) -> Verdict:
    """Return what the judge has to say of the one execution `a`, of which a ledger and a store tell."""
    names = ("at", "what", "attempt", "fence", "node")
    text = "".join(f"{json.dumps(dict(zip(names, line, strict=True)) | {'execution': 'a'})}\n" for line in lines)
    (folder / "n.jsonl").write_text(text)
    execution = {"id": "a", "jobType": "steady", "status": status, "lostCount": 0, "messageCode": None}
    dumped: list[dict[str, Any]] = [{"kind": "execution", "errorMessage": "no luck", **execution}]
    dumped += [
        {"kind": "attempt", "executionId": "a", "attempt": number, "outcome": outcome, "fence": fence}
        | {"startedAt": _claimed_at(number)}
        for number, (outcome, fence) in attempts.items()
    ]
    return judge(folder, dumped, Facts(accepted={"a"}, **told))


def _claimed_at(number: int) -> str:
    """Return an instant half a second before the ledger of `AGAIN` and `FIRST` says that a handler began."""
    return datetime.fromtimestamp(2 * number - 1.5, UTC).isoformat()


def problems_of(*given: Any, **told: Any) -> list[str]:
    """Return what the judge names as contradicting the claim."""
    return judged(*given, **told).problems


def test_what_ran_once_or_again_after_a_kill_is_well(tmp_path: Path) -> None:
    assert problems_of(tmp_path, FIRST, ONCE) == []
    assert problems_of(tmp_path, [FIRST[0], *AGAIN], TWICE, kills=[Kill("n1", 1.5)]) == []


def test_what_a_kill_cut_is_timed_to_its_next_claim_and_to_its_next_begin(tmp_path: Path) -> None:
    verdict = judged(tmp_path, [FIRST[0], *AGAIN], TWICE, kills=[Kill("n1", 1.5)])
    assert verdict.recoveries == [Recovery(claimed=1.0, begun=1.5)]
    assert (verdict.lost, verdict.lost_unbegun) == (1, 0)


def test_what_was_lost_before_it_began_is_counted_apart(tmp_path: Path) -> None:
    verdict = judged(tmp_path, AGAIN, TWICE, kills=[Kill("n1", 1.5)])
    assert (verdict.problems, verdict.lost, verdict.lost_unbegun) == ([], 1, 1)


def test_a_zombie_may_overlap_until_it_sees_that_it_was_replaced(tmp_path: Path) -> None:
    late: list[Line] = [FIRST[0], *AGAIN, (5.5, "stopped", 1, 7, "n1")]
    assert problems_of(tmp_path, late, TWICE, freezes=[Freeze("n1", 1.5, 5)]) == []
    [problem] = problems_of(tmp_path, late, TWICE, freezes=[Freeze("n1", 1.5, 4)])
    assert problem == "attempts 1 and 2 at a overlap 2.50 s"


@pytest.mark.parametrize(
    ("lines", "attempts", "status", "problem"),
    [
        (FIRST, {1: (None, 7)}, "running", "a is running, and all nodes had time to end it"),
        (FIRST, {1: ("failed", 7)}, "failed", "a is failed: no luck"),
        ([*FIRST, *AGAIN], {1: ("succeeded", 7), 2: ("succeeded", 9)}, "succeeded", r"succeeded by attempts \[1, 2\]"),
        ([FIRST[0], (2, "stopped", 1, 7, "n1")], ONCE, "succeeded", "its handler did not come to its end"),
        ([*FIRST, *AGAIN], {1: ("lost", 9), 2: ("succeeded", 9)}, "succeeded", "no higher fence"),
        ([*FIRST, *AGAIN], {1: ("lost", 7), 3: ("succeeded", 9)}, "succeeded", r"a has attempts \[1, 3\]"),
        ([*FIRST, (3, "begin", 2, 8, "n2")], ONCE, "succeeded", "attempt 2 at a ran with fence 8, and is not recorded"),
        ([FIRST[0], *AGAIN], TWICE, "succeeded", "attempt 1 at a began on n1 and never ended"),
    ],
)
def test_whatever_contradicts_the_claim_is_named(
    lines: list[Line], attempts: Mapping[int, tuple[str | None, int]], status: str, problem: str, tmp_path: Path
) -> None:
    assert any(re.search(problem, found) for found in problems_of(tmp_path, lines, attempts, status))


def test_what_was_accepted_and_is_gone_is_named(tmp_path: Path) -> None:
    assert judge(tmp_path, [], Facts(accepted={"a"})).problems == ["a was accepted and is gone"]
