"""The pages about schedules: their pictures are what the rules answer today, and they leave no reason out."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from mainspring import Cron, Every, JobContext, Mainspring, OnStartup
from mainspring.domain.firing_policy import TickOutcome, TickReason
from mainspring.domain.job import Misfire, Overlap

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
SCHEDULES = ROOT / "docs" / "schedules"
PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]


def test_every_picture_is_as_the_rules_draw_it_now() -> None:
    drawn = subprocess.run(
        [sys.executable, "-m", "docs.pictures.draw", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    hint = "draw them again: ./dev shell python -m docs.pictures.draw"
    assert drawn.returncode == 0, f"{drawn.stdout}{drawn.stderr}; {hint}"
    assert len(PICTURES) > 5


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_reads_in_light_and_dark_and_has_a_name_for_those_who_cannot_see_it(picture: Path) -> None:
    root = ET.parse(picture).getroot()  # noqa: S314 - our own file

    assert root.get("aria-label")
    assert "prefers-color-scheme: dark" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_each_picture_is_on_a_page(picture: Path) -> None:
    assert any(f"pictures/{picture.name})" in page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("word", [*TickOutcome, *TickReason])
def test_the_index_explains_every_outcome_and_every_reason(word: str) -> None:
    assert f"`{word}`" in (SCHEDULES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "word"), [*(("misfire", w) for w in Misfire), *(("overlap", w) for w in Overlap)])
def test_each_policy_is_explained(page: str, word: str) -> None:
    assert f'`"{word}"`' in (SCHEDULES / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*SCHEDULES.glob("*.md"), ROOT / "docs" / "cron.md"], ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))

    assert targets
    assert [target for target in targets if not (page.parent / target).exists()] == []


EXAMPLES = [
    pytest.param(example, id=page.stem)
    for page in SCHEDULES.glob("*.md")
    for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_jobs_of_an_example_can_be_declared(example: str) -> None:
    app = Mainspring()
    names = {each.__name__: each for each in (Cron, Every, JobContext, OnStartup, datetime, timedelta)}

    exec(  # noqa: S102 - our own page
        compile(example, "example", "exec"),
        {**names, "app": app, "ROME": ZoneInfo("Europe/Rome"), "is_quiet": lambda: True},
    )

    assert {job.definition.name for job in app.registry} >= set(re.findall(r'@app\.job\(\s*"(.+?)"', example))
