"""The documents: their links lead somewhere, their commands exist, and the first example of the README runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from mainspring.cli.main import program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
FENCED = re.compile(r"```\w*\n.*?```", re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?mainspring ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the names of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> Iterator[str]:
    """Go through the links of a page that lead to no file, or to no heading of it."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def unknown_commands(page: Path) -> Iterator[str]:
    """Go through the commands in the examples of a page that `mainspring` does not have."""
    tree: Any = typer.main.get_command(program)
    for example in FENCED.findall(page.read_text(encoding="utf-8")):
        for name, inner in COMMAND.findall(example):
            command = tree.get_command(None, name)
            of_group = getattr(command, "commands", None)
            if command is None or (of_group is not None and inner not in of_group):
                yield f"{name} {inner}".strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_the_list_of_pages_names_every_page() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in listed} == set()


def test_a_dead_link_and_a_dead_heading_are_seen(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here it is\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#here-it-is) [b](none.md) [c](other.md#gone) [d](#gone)", encoding="utf-8")
    assert list(dead_links(page)) == ["none.md", "other.md#gone", "#gone"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_an_example_exists(page: Path) -> None:
    assert list(unknown_commands(page)) == []


def test_a_command_that_is_gone_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nmainspring jobs list\nmainspring jobs gone\nmainspring gone\n```\n", encoding="utf-8")
    assert list(unknown_commands(page)) == ["jobs gone", "gone"]


def test_the_first_example_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    [example, *_] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "hello.py").write_text(example, encoding="utf-8")
    ran = subprocess.run([sys.executable, "hello.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "good morning" in ran.stdout.splitlines(), ran.stderr  # among the log lines of the job
