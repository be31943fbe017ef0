"""Draws the pictures of the documentation from what the rules of the domain answer.

`./dev shell python -m docs.pictures.draw` writes those that have changed; with `--check` it writes nothing, and fails
where a committed picture is not what would be drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docs.pictures import clocks, dependencies, intervals, misfire, overlap, overrides, pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from docs.pictures.timeline import Picture

FOLDER: Final = Path(__file__).parent
PICTURES: Final[dict[str, Callable[[], Picture]]] = {
    "clocks-forward": clocks.spring,
    "clocks-back": clocks.autumn,
    "misfire": misfire.misfire,
    "overlap": overlap.overlap,
    "pause": pause.pause,
    "intervals": intervals.intervals,
    "jitter": intervals.jitter,
    "dependencies": dependencies.dependencies,
    "limits": dependencies.limits,
    "overrides": overrides.overrides,
}


def main() -> int:
    """Write what has changed, or name it; return 1 where `--check` finds something."""
    is_check = sys.argv[1:] == ["--check"]
    outdated: list[str] = []
    for name, draw in PICTURES.items():
        path, svg = FOLDER / f"{name}.svg", draw().svg()
        if not path.exists() or path.read_text(encoding="utf-8") != svg:
            outdated.append(path.name)
            if not is_check:
                path.write_text(svg, encoding="utf-8")
    if outdated:
        print(f"{'not as drawn now' if is_check else 'written'}: {' '.join(outdated)}")
    return int(is_check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
