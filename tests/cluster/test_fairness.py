"""Organizations share the nodes fairly and exactly, by a ledger of the handlers' own, while nodes are killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.rate import Rate
from tests.cluster.fair_jobs import MOST_OF_A_KEY
from tests.cluster.fairness_ledger import SINGLE, Asked, Facts, Fall, judge
from tests.cluster.fairness_under_kills import ORGANIZATION_LIMIT, OWN_LIMITS, Trial, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(120)
async def test_limits_hold_and_nobody_starves_through_kills(postgresql_url: str, tmp_path: Path) -> None:
    trial = Trial(
        nodes=3,
        organizations=20,
        largest=1_000,
        least=200,
        seconds=6,
        kill_every=1.0,
        work_seconds=0.5,
        single_every=0.5,
        single_within=2.0,  # other tests share the cores; `./dev prove fairness` holds the second
    )
    verdict, facts = await run(postgresql_url, tmp_path, trial)
    assert verdict.problems == []
    assert facts.falls
    assert verdict.recoveries
    most = verdict.most_at_once
    assert most["organization-001"] == ORGANIZATION_LIMIT
    assert {name: most[name] for name in OWN_LIMITS} == OWN_LIMITS
    assert most["key-0"] == MOST_OF_A_KEY


# ---- The judge ------------------------------------------------------------------------------------------------------

Line = tuple[float, str, str, int, str]
GROUP = "organization"
BOTH_BEGIN: list[Line] = [(1, "begin", "a", 1, "n1"), (1, "begin", "b", 1, "n2")]
BOTH_END: list[Line] = [(2, "done", "a", 1, "n1"), (2, "done", "b", 1, "n2")]


def write_ledger(folder: Path, lines: list[Line], *, group: str) -> None:
    names = ("at", "what", "execution", "attempt", "node")
    text = "".join(f"{json.dumps(dict(zip(names, line, strict=True)) | {'group': group})}\n" for line in lines)
    (folder / "n.jsonl").write_text(text)


def problems_of(folder: Path, lines: list[Line], *, limit: int = 2, **told: object) -> list[str]:
    """Return what the judge has to say of a ledger in which `a` and `b` were asked for."""
    write_ledger(folder, lines, group=GROUP)
    facts = Facts(
        asked={name: Asked(GROUP, 0.0) for name in ("a", "b")},
        limits={GROUP: limit},
        organizations={GROUP},
        succeeded={"a", "b"},
        until=9.0,
    )
    for name, value in told.items():
        setattr(facts, name, value)
    return judge(folder, facts).problems


def test_the_judge_has_nothing_to_say_where_all_is_well(tmp_path: Path) -> None:
    assert problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END]) == []


def test_the_judge_sees_a_limit_that_is_exceeded(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END], limit=1)
    assert "ran 2 at once: its limit is 1" in problem


def test_the_judge_ends_what_a_killed_node_ran_with_the_kill(tmp_path: Path) -> None:
    again: list[Line] = [(4, "begin", "a", 2, "n2"), (5, "done", "a", 2, "n2")]
    killed = [*BOTH_BEGIN, BOTH_END[1], *again]
    assert problems_of(tmp_path, killed, falls=[Fall("n1", 1.5, 3.0)]) == []
    (problem,) = problems_of(tmp_path, [*BOTH_BEGIN, BOTH_END[1]], succeeded={"b"}, left={"a"})
    assert "never ended" in problem


def test_the_judge_sees_what_is_lost_and_what_is_done_twice(tmp_path: Path) -> None:
    (lost,) = problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END], succeeded={"a"})
    assert "b of organization is lost" in lost
    twice: list[Line] = [(3, "begin", "a", 2, "n2"), (4, "done", "a", 2, "n2")]
    assert problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END, *twice], falls=[Fall("n1", 2.5, 3.0)]) == []
    (problem,) = problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END, *twice])
    assert "a of organization was done 2 times" in problem


def test_the_judge_takes_it_that_what_was_lost_three_times_is_given_up(tmp_path: Path) -> None:
    killed = [*BOTH_BEGIN, BOTH_END[0]]
    fall = Fall("n2", 2.5, 3.0)
    assert problems_of(tmp_path, killed, falls=[fall], succeeded={"a"}, given_up={"b"}) == []
    (never_cut,) = problems_of(tmp_path, [*BOTH_BEGIN, *BOTH_END], succeeded={"a"}, given_up={"b"})
    assert "b of organization is lost" in never_cut


def test_the_judge_sees_places_that_stay_empty(tmp_path: Path) -> None:
    slow: list[Line] = [BOTH_BEGIN[0], BOTH_END[0], (8, "begin", "b", 1, "n2"), (8.5, "done", "b", 1, "n2")]
    (problem,) = problems_of(tmp_path, slow, limit=1)
    assert "ran fewer than 1 for 6.0 s while more waited" in problem


def test_the_judge_sees_who_is_not_served_soon_after_a_kill(tmp_path: Path) -> None:
    slow: list[Line] = [BOTH_BEGIN[0], (8, "begin", "b", 1, "n2"), (8.5, "done", "b", 1, "n2")]
    told = problems_of(
        tmp_path, slow, limit=1, falls=[Fall("n1", 2.0, 4.0)], succeeded={"b"}, left={"a"}, longest_gap=7.0
    )
    assert told == ["organization ran 1 again only 4.0 s after the lease of n1"]


def test_the_judge_sees_a_single_job_that_waits_for_more_than_the_lease_of_a_dead_node(tmp_path: Path) -> None:
    name = f"{SINGLE}1"
    waits: list[Line] = [(0.5, "begin", "b", 1, "n2"), (1, "done", "b", 1, "n2")]
    write_ledger(tmp_path, [*waits, (4, "begin", "a", 1, "n2"), (5, "done", "a", 1, "n2")], group=name)

    def told(*falls: Fall) -> list[str]:
        asked = {"a": Asked(name, 1.0), "b": Asked(name, 0.0)}
        return judge(tmp_path, Facts(asked=asked, limits={name: 1}, succeeded={"a", "b"}, falls=[*falls])).problems

    waited = [f"{name} has a single job, and waited 3.00 s"]
    assert told() == waited
    assert told(Fall("n1", 1.5, 3.0)) == waited
    assert told(Fall("n1", 1.5, 1.9, frozenset({"a"}))) == waited
    assert told(Fall("n1", 1.5, 3.0, frozenset({"a"}))) == []


def test_the_judge_sees_a_rate_that_is_exceeded(tmp_path: Path) -> None:
    lines = [*BOTH_BEGIN, *BOTH_END]
    assert problems_of(tmp_path, lines, rates={GROUP: Rate.parse("1/m")}) == []  # one more by the burst of starts
    many: list[Line] = [(1, "begin", "c", 1, "n1"), (2, "done", "c", 1, "n1")]
    asked = {name: Asked(GROUP, 0.0) for name in ("a", "b", "c")}
    problems = problems_of(
        tmp_path, [*lines, *many], limit=3, rates={GROUP: Rate.parse("1/m")}, asked=asked, succeeded={"a", "b", "c"}
    )
    assert problems == ["organization began 3 times within 60 s: its rate is 1/m"]
