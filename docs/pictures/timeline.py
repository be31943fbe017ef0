"""Draws timelines as SVG: lanes of marks and runs over time, readable on light and dark pages.

Shape tells as much as colour does, and the picture brings its own background, so that no page can make it unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.domain.firing_policy import Tick

    Band = tuple[datetime, datetime, str]

WIDTH: Final = 880
LEFT, RIGHT, TOP, LANE, FOOT, BAR = 200, 30, 66, 60, 46, 20

STYLE: Final = """
text { font: 13px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink) }
.title { font-size: 15px; font-weight: 600 } .label { font-weight: 600 }
.small { font-size: 11px; fill: var(--muted) }
.card { fill: var(--card); stroke: var(--line) } .band { fill: var(--band) }
.base { stroke: var(--line) } .grid { stroke: var(--line); stroke-dasharray: 2 4 }
.link { stroke: var(--muted); fill: none; stroke-dasharray: 3 3 }
.fired { fill: var(--green); stroke: var(--green) } .late { fill: var(--amber); stroke: var(--amber) }
.coalesced { fill: var(--card); stroke: var(--blue); stroke-width: 2 }
.skipped { fill: none; stroke: var(--muted); stroke-width: 2 }
.missed { fill: none; stroke: var(--red); stroke-width: 2.5 }
.run { fill: var(--run); stroke: var(--green) } .failed { fill: var(--broken); stroke: var(--red) }
.plain { fill: var(--band); stroke: var(--blue) }
svg { --card: #ffffff; --line: #d0d7de; --ink: #1f2328; --muted: #59636e; --band: #eaeef2; --run: #dafbe1;
      --broken: #ffd7d5; --green: #1a7f37; --amber: #bf8700; --blue: #0969da; --red: #cf222e }
@media (prefers-color-scheme: dark) {
  svg { --card: #0d1117; --line: #30363d; --ink: #e6edf3; --muted: #9198a1; --band: #21262d; --run: #12361f;
        --broken: #4b1a1c; --green: #3fb950; --amber: #d29922; --blue: #58a6ff; --red: #f85149 }
}
"""

LEGEND: Final = {
    "fired": "fired",
    "late": "fired late",
    "coalesced": "coalesced",
    "skipped": "skipped",
    "missed": "missed",
    "run": "a run",
    "failed": "failed or cancelled",
    "plain": "what it says",
}
RUN_KINDS: Final = ("run", "failed", "plain")


class Run(NamedTuple):
    """A bar: from when to when, what is written in it, its kind, and in which of the lane's rows it stands."""

    start: datetime
    end: datetime
    word: str = ""
    kind: str = "run"
    row: int = 0


@dataclass
class Lane:
    """One line of a picture.

    Attributes:
        label: What it shows, bold.
        detail: More about it, small.
    """

    label: str
    detail: str = ""
    bands: list[Band] = field(default_factory=list["Band"])
    links: list[tuple[datetime, datetime]] = field(default_factory=list["tuple[datetime, datetime]"])
    runs: list[Run] = field(default_factory=list["Run"])
    marks: list[tuple[datetime, str]] = field(default_factory=list["tuple[datetime, str]"])
    notes: list[tuple[datetime, str]] = field(default_factory=list["tuple[datetime, str]"])

    def tick(self, tick: Tick) -> None:
        """Mark an instant with what became of it."""
        late = tick.fires and tick.reason is not None and tick.reason.value == "late"
        self.marks.append((tick.scheduled_for, "late" if late else tick.outcome.value))


@dataclass
class Picture:
    """A timeline.

    Attributes:
        title: What it shows, in a sentence.
        start: Its left end.
        end: Its right end.
        axis: Instants with a vertical line and a word.
        bands: Stretches with a word, across all lanes.
    """

    title: str
    start: datetime
    end: datetime
    axis: list[tuple[datetime, str]]
    bands: list[Band] = field(default_factory=list["Band"])
    lanes: list[Lane] = field(default_factory=list["Lane"])

    def lane(self, label: str, detail: str = "") -> Lane:
        """Add a lane below the others."""
        self.lanes.append(Lane(label, detail))
        return self.lanes[-1]

    def svg(self) -> str:
        """Return the whole file."""
        bottom = TOP + LANE * len(self.lanes)
        height = bottom + FOOT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
            f'     role="img" aria-label="{escape(self.title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
            f'<text class="title" x="20" y="28">{escape(self.title)}</text>',
        ]
        for band in self.bands:
            parts += self._band(band, TOP - 16, bottom + 4, TOP - 5)
        for instant, word in self.axis:
            x = self._x(instant)
            parts.append(f'<line class="grid" x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{bottom}"/>')
            parts.append(_small(x, bottom + 14, word))
        for number, lane in enumerate(self.lanes):
            parts += self._lane(lane, TOP + LANE * number + LANE // 2)
        return "\n".join([*parts, *self._legend(height - 14), "</svg>", ""])

    def _x(self, instant: datetime) -> float:
        share = (instant - self.start) / (self.end - self.start)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def _band(self, band: Band, top: int, bottom: int, word_y: int) -> list[str]:
        start, end, word = band
        left, right = self._x(max(start, self.start)), self._x(min(end, self.end))
        width = round(right - left, 1)
        return [
            f'<rect class="band" x="{left}" y="{top}" width="{width}" height="{bottom - top}" rx="4"/>',
            _small(round((left + right) / 2, 1), word_y, word),
        ]

    def _lane(self, lane: Lane, y: int) -> list[str]:
        """Draw a lane around its middle; where it has runs, they stand on its line and the marks above it."""
        parts = [part for band in lane.bands for part in self._band(band, y - 26, y + 24, y + 20)]
        parts.append(f'<text class="label" x="20" y="{y - 3 if lane.detail else y + 4}">{escape(lane.label)}</text>')
        parts.append(f'<text class="small" x="20" y="{y + 13}">{escape(lane.detail)}</text>')
        line = y + 6 if lane.runs else y
        above = y - 14 if lane.runs else y
        parts.append(f'<line class="base" x1="{LEFT}" y1="{line}" x2="{WIDTH - RIGHT}" y2="{line}"/>')
        height = BAR // (1 + max((run.row for run in lane.runs), default=0))
        for run in lane.runs:
            parts += self._run(run, line - BAR // 2 + run.row * height, height)
        for due, started in lane.links:
            left, right = self._x(due), self._x(started)
            parts.append(f'<path class="link" d="M{left} {above} L{right} {line - BAR // 2}"/>')
        parts += [mark(kind, self._x(instant), above) for instant, kind in lane.marks]
        parts += [_small(self._x(instant), y + 26, word) for instant, word in lane.notes]
        return parts

    def _run(self, run: Run, top: int, height: int) -> list[str]:
        left, right = self._x(max(run.start, self.start)), self._x(min(run.end, self.end))
        width = max(4.0, round(right - left, 1))
        bar = f'<rect class="{run.kind}" x="{left}" y="{top}" width="{width}" height="{height - 1}" rx="3"/>'
        return [bar, _small(round(left + width / 2, 1), top + height // 2 + 4, run.word)] if run.word else [bar]

    def _legend(self, y: int) -> list[str]:
        used = {kind for lane in self.lanes for _, kind in lane.marks}
        used |= {run.kind for lane in self.lanes for run in lane.runs}
        parts: list[str] = []
        x = LEFT
        for kind, words in LEGEND.items():
            if kind in used:
                if kind in RUN_KINDS:
                    parts.append(f'<rect class="{kind}" x="{x - 9}" y="{y - 10}" width="18" height="11" rx="3"/>')
                else:
                    parts.append(mark(kind, x, y - 4))
                parts.append(f'<text class="small" x="{x + 13}" y="{y}">{words}</text>')
                x += 40 + 7 * len(words)
        return parts


def _small(x: float, y: float, word: str) -> str:
    return f'<text class="small" x="{x}" y="{y}" text-anchor="middle">{escape(word)}</text>'


def mark(kind: str, x: float, y: float) -> str:
    """Return the shape of one instant's fate."""
    if kind == "missed":
        return f'<path class="missed" d="M{x} {y} m-5 -5 l10 10 m-10 0 l10 -10"/>'
    if kind == "skipped":
        return f'<path class="skipped" d="M{x} {y} m-6 0 a6 6 0 1 0 12 0 a6 6 0 1 0 -12 0 m2 4 l8 -8"/>'
    if kind == "late":
        return f'<path class="late" d="M{x} {y} m0 -7 l7 7 l-7 7 l-7 -7 Z"/>'
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="6"/>'
