from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("src/", "tests/")
MOST_LINES = 500


def test_no_module_is_longer_than_500_lines(repository: Path, project_files: list[Path]) -> None:
    names = [path.relative_to(repository).as_posix() for path in project_files if path.suffix == ".py"]
    modules = [name for name in names if name.startswith(FOLDERS)]
    lengths = {name: len((repository / name).read_text(encoding="utf-8").splitlines()) for name in modules}

    assert modules
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
