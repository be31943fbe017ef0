"""The proof `defences` stays runnable: what it takes out of the sources still stands there, once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.proofs.defence_removals import REMOVALS, REPOSITORY, Removal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.table.title}, {removal.defence}")
def test_a_defence_can_be_removed_and_put_back(removal: Removal, tmp_path: Path) -> None:
    files = {file for file, _, _ in removal.changes}
    for file in files:
        (tmp_path / "src/mainspring" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "src/mainspring" / file, tmp_path / "src/mainspring" / file)

    def sources() -> dict[str, str]:
        return {file: (tmp_path / "src/mainspring" / file).read_text(encoding="utf-8") for file in files}

    before = sources()
    with removal.applied(tmp_path):
        without = sources()
        for file, source in without.items():
            compile(source, file, "exec")
    assert without != before
    assert sources() == before
