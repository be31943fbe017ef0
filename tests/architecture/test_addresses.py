from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Written in pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "yarnpkg" + ".com")
MACHINE_PATHS = ("/work" + "/", "/opt" + "/pypi", "/opt" + "/wheels")

REGISTRY_HOST = re.compile("|".join(re.escape(host) for host in REGISTRY_HOSTS), re.IGNORECASE)
# A path of the machine starts at the root: `docs/work/` in the middle of another path is none.
MACHINE_PATH = re.compile(r"(?<![\w.~*/}-])(?:" + "|".join(re.escape(path) for path in MACHINE_PATHS) + ")")


def lines_that_match(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{path}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_the_host_of_a_package_registry(project_files: list[Path]) -> None:
    assert lines_that_match(REGISTRY_HOST, project_files) == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on(project_files: list[Path]) -> None:
    assert lines_that_match(MACHINE_PATH, project_files) == []


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_the_search_finds_every_registry_host(host: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"fine\nhttps://files.{host.upper()}/simple\n")

    assert lines_that_match(REGISTRY_HOST, [lock]) == [f"{lock}:2"]


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_the_search_finds_every_path_of_the_machine(path: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text(f"docs{path}x\nsee `{path}x`\n")

    assert lines_that_match(MACHINE_PATH, [notes]) == [f"{notes}:2"]
