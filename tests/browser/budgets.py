"""What a page may cost, and what it did cost in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import Page

_MEASURE: Final = """
async () => {
    const seen = {shift: 0, paint: 0};
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.shift += entry.value;
    }).observe({type: "layout-shift", buffered: true});
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) seen.paint = entry.startTime;
    }).observe({type: "largest-contentful-paint", buffered: true});
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)));
    const [page] = performance.getEntriesByType("navigation");
    const parts = performance.getEntriesByType("resource").map(entry => (
        {name: new URL(entry.name).pathname, bytes: entry.encodedBodySize, took: entry.responseEnd - entry.requestStart}
    ));
    return {
        firstByte: page.responseStart - page.requestStart,
        load: page.loadEventEnd - page.startTime,
        htmlBytes: page.encodedBodySize,
        nodes: document.querySelectorAll("*").length,
        parts,
        ...seen,
    };
}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a page loaded besides its HTML.

    Attributes:
        path: Where it came from.
        bytes: What travelled, compressed.
        milliseconds: From the question to the last byte.
    """

    path: str
    bytes: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one visit of a page cost.

    Attributes:
        first_byte_ms: Until the first byte of the HTML came.
        load_ms: Until everything had come and was drawn.
        largest_paint_ms: When the largest thing of the window was drawn (LCP).
        shift: How much of it moved afterwards (CLS).
        nodes: Elements of the document.
        html_bytes: What the HTML weighed, compressed.
        parts: What else it loaded.
    """

    first_byte_ms: float
    load_ms: float
    largest_paint_ms: float
    shift: float
    nodes: int
    html_bytes: int
    parts: tuple[Part, ...]

    @property
    def requests(self) -> int:
        """How many requests it took; what fragments ask for once the page stands is no part of a visit's cost."""
        return 1 + sum("/static/" in part.path for part in self.parts)

    def bytes_of(self, ending: str, *, named: str = "") -> int:
        """Return what the parts weighed whose names end so, and begin with a word."""
        return sum(
            part.bytes
            for part in self.parts
            if part.path.endswith(ending) and part.path.rpartition("/")[2].startswith(named)
        )

    @property
    def first_visit_bytes(self) -> int:
        """What everything weighed together."""
        return self.html_bytes + self.bytes_of("")

    @property
    def bytes_without_charts_and_fonts(self) -> int:
        """What was needed before anything could be read."""
        return self.first_visit_bytes - self.bytes_of(".js", named="charts") - self.bytes_of(".woff2")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a page may cost at most.

    Attributes:
        of: Which cost.
        what: In words.
        most: The limit.
        is_time: Whether it is in milliseconds, which depend on the machine and on what else it does.
    """

    of: Callable[[Cost], float]
    what: str
    most: float
    is_time: bool = False


EVERY_PAGE: Final = (
    Budget(lambda cost: cost.html_bytes, "HTML, bytes compressed", 25_000),
    Budget(lambda cost: cost.bytes_of(".css"), "CSS, bytes compressed", 90_000),
    Budget(lambda cost: cost.bytes_of(".js", named="app"), "app.js, bytes compressed", 70_000),
    Budget(lambda cost: cost.bytes_without_charts_and_fonts, "first visit without charts and fonts, bytes", 200_000),
    Budget(lambda cost: cost.first_visit_bytes, "first visit with everything, bytes", 320_000),
    Budget(lambda cost: cost.requests, "requests", 12),
    Budget(lambda cost: cost.nodes, "elements", 1_500),
    Budget(lambda cost: cost.shift, "layout shift (CLS)", 0.02),
    Budget(lambda cost: cost.largest_paint_ms, "largest paint (LCP), ms", 1_200, is_time=True),
)
RUNS: Final = (
    Budget(lambda cost: cost.first_byte_ms, "first byte, ms", 100, is_time=True),
    Budget(lambda cost: cost.load_ms, "loaded and drawn, ms", 500, is_time=True),
)
FRAGMENT_MS: Final = 150
"""How long a fragment of the overview may take."""
FRAGMENTS: Final = "() => [...document.querySelectorAll('[hx-get]')].map(element => element.getAttribute('hx-get'))"
TIME_OF_FRAGMENT: Final = """
async address => {
    const began = performance.now();
    const answer = await fetch(address, {headers: {"HX-Request": "true"}});
    await answer.text();
    return answer.ok ? performance.now() - began : Infinity;
}
"""


async def cost_of(page: Page) -> Cost:
    """Return what the page that is open cost."""
    measured = await page.evaluate(_MEASURE)
    return Cost(
        first_byte_ms=measured["firstByte"],
        load_ms=measured["load"],
        largest_paint_ms=measured["paint"],
        shift=measured["shift"],
        nodes=measured["nodes"],
        html_bytes=measured["htmlBytes"],
        parts=tuple(Part(part["name"], part["bytes"], part["took"]) for part in measured["parts"]),
    )
