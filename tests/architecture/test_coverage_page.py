"""`docs/coverage.md` is the promise of what works: here it is held to name real tests."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENTS_OF_A_DOCUMENT = {"H": 10, "Q": 15, "S": 12, "T": 20, "P": 9}
STATES = {"open", "part", "done"}
PROOF = re.compile(r"`(?P<file>tests/[\w/]+\.py)(?:::(?P<name>[\w:]+))?`")


class Row(NamedTuple):
    requirement: str
    summary: str
    proof: str
    state: str


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[Row]:
    lines = (repository / "docs" / "coverage.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| [A-Z]\d", line)]
    return [Row(*row) for row in cells]


def names_defined_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def test_every_requirement_has_exactly_one_row_in_order(rows: list[Row]) -> None:
    expected = [
        f"{document}{number}"
        for document, count in REQUIREMENTS_OF_A_DOCUMENT.items()
        for number in range(1, count + 1)
    ]

    assert len(expected) == 66
    assert [row.requirement for row in rows] == expected


def test_every_named_test_exists(rows: list[Row], repository: Path) -> None:
    missing = [
        f"{row.requirement}: {proof[0]}"
        for row in rows
        for proof in PROOF.finditer(row.proof)
        if not (repository / proof["file"]).is_file()
        or not set((proof["name"] or "").split("::")) - {""} <= names_defined_in(repository / proof["file"])
    ]

    assert missing == []


def test_a_proof_is_a_list_of_tests_or_a_dash(rows: list[Row]) -> None:
    unreadable = [row.requirement for row in rows if row.proof != "–" and PROOF.sub("", row.proof).strip(" ,")]
    empty = [row.requirement for row in rows if not row.proof]

    assert unreadable == empty == []


def test_what_is_done_names_its_proof(rows: list[Row]) -> None:
    assert {row.state for row in rows} <= STATES
    assert [row.requirement for row in rows if row.state == "done" and not PROOF.search(row.proof)] == []
