"""The pages about processors and syncs: their code runs as it stands there, and their steps are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import testing
from mainspring.builtin import processing_run, sync_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from mainspring import Mainspring
    from mainspring.builtin.steps import Step

DOCS = Path(__file__).parents[2] / "docs"


def code_of(page: str) -> list[CodeType]:
    """Return the Python of a page; what it awaits, it awaits at the top."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return [compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True) for block in blocks]


async def run(code: CodeType, names: dict[str, Any]) -> None:
    running = eval(code, names)  # noqa: S307 - our own page
    if running is not None:
        await running


@pytest.mark.parametrize(
    ("page", "processors", "syncs"),
    [("data-processing.md", {"look-up", "send"}, set[str]()), ("sync.md", set[str](), {"contacts", "paced-contacts"})],
)
async def test_the_code_of_a_page_runs(
    page: str, processors: set[str], syncs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_LOG_FORMAT", "json")
    declaring, *others = code_of(page)
    names: dict[str, Any] = {}
    await run(declaring, names)
    app: Mainspring = names["app"]
    async with testing.kit(app, inline=True):
        for code in others:
            await run(code, names)
    assert {each.name for each in app.processors} == processors
    assert {each.name for each in app.syncs} == syncs


@pytest.mark.parametrize(("page", "steps"), [("data-processing.md", processing_run.STEPS), ("sync.md", sync_run.STEPS)])
def test_a_page_names_the_steps(page: str, steps: Sequence[Step]) -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]+) \| (\d+)", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(str(number), step.label, str(step.percent)) for number, step in enumerate(steps, start=1)]


@pytest.mark.parametrize("page", ["data-processing.md", "sync.md"])
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)", (DOCS / page).read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (DOCS / target).exists()] == []
