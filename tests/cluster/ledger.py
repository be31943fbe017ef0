"""What handlers write down while nodes fall over: each its begin and its end, and nothing that a kill could lose."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from mainspring import JobContext, Mainspring


@dataclass(slots=True)
class Run:
    """One attempt as its handler saw it; `end` is the kill where a kill ended it, and then it is `cut`."""

    execution: str
    attempt: int
    group: str
    node: str
    begin: float
    fence: int = 0
    end: float | None = None
    is_done: bool = False
    is_cut: bool = False


@contextmanager
def noted(app: Mainspring, ctx: JobContext[Any], group: str = "") -> Generator[None]:
    """Write down that the block begins, and whether it came to its end or was stopped."""
    _note(app, ctx, group, "begin")
    how = "stopped"
    try:
        yield
        how = "done"
    finally:
        _note(app, ctx, group, how)


def _note(app: Mainspring, ctx: JobContext[Any], group: str, what: str) -> None:
    """Write a line, in one piece and at once, so that a kill loses nothing that was said."""
    line = {
        "at": app.world.now().timestamp(),
        "what": what,
        "execution": str(ctx.execution_id),
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "group": group,
        "node": ctx.node,
    }
    path = Path(os.environ["LEDGER"], f"{ctx.node}-{os.getpid()}.jsonl")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(file)


def read(folder: Path, gone: Mapping[str, float]) -> list[Run]:
    """Return the runs of the ledger by their begin; what a killed node ran ends with it.

    Args:
        folder: Where the handlers wrote.
        gone: When which node was killed.
    """
    runs: dict[tuple[str, int], Run] = {}
    said = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    for line in sorted(said, key=lambda line: (line["at"], line["what"] != "begin")):
        key = line["execution"], line["attempt"]
        if line["what"] == "begin":
            runs[key] = Run(*key, line.get("group", ""), line["node"], line["at"], line.get("fence", 0))
        else:
            runs[key].end, runs[key].is_done = line["at"], line["what"] == "done"
    for run in runs.values():
        if run.end is None and run.node in gone:
            run.end, run.is_cut = max(run.begin, gone[run.node]), True
    return list(runs.values())
