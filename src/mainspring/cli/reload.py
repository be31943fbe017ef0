"""`serve --reload`: the same command in a process of its own, started again when a Python file changes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK_SECONDS: Final = 0.5


def run_and_reload(arguments: Sequence[str]) -> None:
    """Run `mainspring` with these arguments until Ctrl-C or TERM, and again after each change below this folder."""
    from mainspring.world import RealWorld

    world = RealWorld()
    signal.signal(signal.SIGTERM, _interrupt)
    seen = _changed_at(Path.cwd())
    node = _start(arguments)
    try:
        while True:
            world.pause(_LOOK_SECONDS)
            now = _changed_at(Path.cwd())
            if now != seen:
                changed = sorted(path for path, _ in set(now.items()) ^ set(seen.items()))
                typer.echo(f"mainspring: {changed[0]} has changed; starting again", err=True)
                seen = now
                _stop(node)
                node = _start(arguments)
    except KeyboardInterrupt:
        _stop(node)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "mainspring", *arguments])  # noqa: S603 - our own arguments


def _stop(node: subprocess.Popen[bytes]) -> None:
    node.terminate()
    node.wait()


def _changed_at(folder: Path) -> Mapping[str, float]:
    """Return when each Python file was changed last; hidden folders, such as virtual environments, are left out."""
    found: dict[str, float] = {}
    for path in folder.rglob("*.py"):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            try:
                found[str(path)] = path.stat().st_mtime
            except FileNotFoundError:  # an editor replaces files
                continue
    return found
