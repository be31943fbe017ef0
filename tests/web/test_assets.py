"""The built files: how they are served, what they weigh, and the colours of states in them."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from mainspring.web import app as web_app
from mainspring.web.assets import FOLDER, Assets
from mainspring.web.csrf import CSRF_HEADER
from mainspring.web.statuses import LOOKS
from mainspring.web.templating import FOLDER as TEMPLATES
from tests.web.conftest import Page, mounted

if TYPE_CHECKING:
    from pathlib import Path

    from mainspring import Mainspring
    from tests.web.conftest import Site

BUDGETS: Final = {"app.ts": 70_000, "app.css": 40_000, "charts.ts": 80_000, "theme.ts": 300}
BACKGROUNDS: Final = {"light": "#ffffff", "dark": "#1f2937"}
LEAST_FOR_ICONS: Final = 3.0


@pytest.mark.parametrize(("source", "most"), BUDGETS.items())
def test_a_built_file_keeps_its_budget(source: str, most: int) -> None:
    name = Assets().names[source]
    assert len((FOLDER / f"{name}.gz").read_bytes()) <= most


@pytest.mark.parametrize("kept", ["table-mobile-md", "modal-backdrop", "collapsing", "dropdown-menu.show", "st-stale"])
def test_the_style_keeps_what_pages_and_scripts_use_of_the_kit_and_is_ours_as_a_whole(kept: str) -> None:
    assert f".{kept}" in (FOLDER / Assets().names["app.css"]).read_text(encoding="utf-8")


async def test_a_built_file_may_be_kept_for_ever_and_travels_compressed(site: Site) -> None:
    client = await site.stranger()
    address = f"/static/{Assets().names['app.ts']}"
    whole = await client.get(address, headers={"Accept-Encoding": "identity"})
    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.headers["content-type"].startswith("text/javascript")
    small = await client.get(address, headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(whole.content) / 2
    assert small.content == whole.content
    known = await client.get(address, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_a_page_travels_compressed_and_its_token_is_another_one_each_time(site: Site) -> None:
    client = await site.client()
    pages = [await client.get("/settings", headers={"Accept-Encoding": "gzip"}) for _ in range(2)]
    assert [page.headers["content-encoding"] for page in pages] == ["gzip", "gzip"]
    tokens = {Page(page.text).all("meta", name="csrf-token")[0].attributes["content"] for page in pages}
    assert len(tokens) == 2, "how well an answer is compressed would tell of a token that never changes"
    for token in tokens:
        assert (await client.post("/clock", data={"choice": "utc"}, headers={CSRF_HEADER: token})).status_code == 303


@pytest.mark.parametrize("name", ["nothing.js", "manifest.json", "..%2fapp.py", "%2e%2e/%2e%2e/app.py"])
async def test_nothing_else_is_served(site: Site, name: str) -> None:
    assert (await (await site.stranger()).get(f"/static/{name}")).status_code == 404


async def test_without_assets_one_plain_page_says_what_is_missing(
    app: Mainspring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_app, "Assets", lambda: Assets(tmp_path / "dist"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.connected())
        client = await mounted(app, stack).stranger()
        for address in ("/", "/sign-in", "/static/app.js"):
            answer = await client.get(address)
            assert answer.status_code == 503
            assert answer.headers["content-type"].startswith("text/plain")
            assert "MAINSPRING_SKIP_ASSETS" in answer.text


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_the_icon_of_each_state_stands_out_from_its_background(theme: str) -> None:
    colours = _colours(theme)
    weak = {
        tone: round(contrast, 2)
        for tone in {look.tone for look in LOOKS.values()}
        if (contrast := _contrast(colours[tone], BACKGROUNDS[theme])) < LEAST_FOR_ICONS
    }
    assert weak == {}


def test_every_icon_of_a_template_and_of_a_state_is_drawn() -> None:
    named = {look.icon for look in LOOKS.values()}
    for template in TEMPLATES.rglob("*.html"):
        named |= set(re.findall(r"""\bicon\(["']([a-z0-9-]+)["']""", template.read_text(encoding="utf-8")))
    assert named - Assets().icons.keys() == set()


async def test_a_page_names_the_hashed_files(site: Site) -> None:
    page = Page((await (await site.stranger()).get("/sign-in")).text)
    [style] = page.all("link", rel="stylesheet")
    assert style.attributes["href"] == f"/ui/static/{Assets().names['app.css']}"


def _colours(theme: str) -> dict[str, str]:
    style = (FOLDER / Assets().names["app.css"]).read_text(encoding="utf-8")
    [block] = [block for block in re.findall(rf"\[data-bs-theme={theme}\]{{([^}}]*)}}", style) if "--ms-ok" in block]
    return {name: _in_full(colour) for name, colour in re.findall(r"--ms-([a-z]+): ?(#[0-9a-f]+)", block)}


def _in_full(colour: str) -> str:
    return colour if len(colour) == len("#rrggbb") else "#" + "".join(digit * 2 for digit in colour[1:])


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
