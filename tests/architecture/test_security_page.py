"""`docs/security.md` answers every known attack: here it is held to name real tests, or to say what it waits for."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CASES = 52
PROOF = re.compile(r"`(?P<file>tests/[\w/]+\.py)(?:::(?P<name>\w+))?`")


class Row(NamedTuple):
    case: str
    answer: str
    proof: str


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[Row]:
    lines = (repository / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    return [
        Row(*(cell.strip() for cell in line.strip("|").split(" | "))) for line in lines if re.match(r"\| S\d\d ", line)
    ]


def names_defined_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def test_every_case_has_exactly_one_row_in_order(rows: list[Row]) -> None:
    assert [row.case[:3] for row in rows] == [f"S{number:02}" for number in range(1, CASES + 1)]


def test_every_named_test_exists(rows: list[Row], repository: Path) -> None:
    missing = [
        f"{row.case}: {proof[0]}"
        for row in rows
        for proof in PROOF.finditer(row.proof)
        if not (repository / proof["file"]).is_file()
        or (proof["name"] is not None and proof["name"] not in names_defined_in(repository / proof["file"]))
    ]
    assert missing == []


def test_an_answer_is_proven_or_says_what_it_waits_for(rows: list[Row]) -> None:
    unreadable = [row.case for row in rows if row.proof != "–" and PROOF.sub("", row.proof).strip(" ,")]
    unproven = [
        row.case
        for row in rows
        if row.proof == "–" and "comes with issue" not in row.answer and "nobody but us" not in row.answer
    ]
    assert unreadable == unproven == []
