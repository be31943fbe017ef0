"""Views of the list of runs that people save, and the columns that they choose; both with forms and links alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import Page, links

if TYPE_CHECKING:
    import httpx2

    from mainspring import Mainspring
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}
HARMFUL = "<script>alert(1)</script>"


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with a job."""

    @app.job("digest")
    async def digest() -> None:
        """Do nothing."""

    return app


async def save(client: httpx2.AsyncClient, name: str, **asked: str) -> httpx2.Response:
    """Save what the list shows, by the form that the page gives."""
    dialog = Page((await client.get("/runs/views/save", params=asked, headers=HTMX)).text)
    target = dialog.all("form")[0].attributes["action"].removeprefix("/ui")
    return await client.post(target, data={"name": name}, headers=HTMX)


async def names(client: httpx2.AsyncClient) -> dict[str, str]:
    """Return the views that a visitor has, with their addresses."""
    page = Page((await client.get("/runs/views")).text)
    found = [link for link in page.all("a") if link.attributes["id"].startswith("view-")]
    return {" ".join(link.text.split()): link.attributes["href"] for link in found}


async def test_a_view_is_a_link_to_the_same_list_that_others_can_open(site: Site) -> None:
    ada, grace = await site.client(), await site.client("grace")
    await site.app.enqueue("digest")
    done = await save(ada, "  Late   digests ", q="job:digest status:queued", columns="queue", compact="1")
    assert "Late digests is saved" in done.headers["HX-Trigger"]
    [(name, address)] = (await names(ada)).items()
    assert (name, await names(grace)) == ("Late digests", {})
    page = Page((await grace.get(address.removeprefix("/ui"))).text)
    assert page.all("input", id="run-filter")[0].attributes["value"] == "job:digest status:queued"
    assert [head.text for head in page.all("th")][1:] == ["Status", "Job", "Queue"]
    here = Page((await ada.get(f"/runs/views?{address.partition('?')[2]}")).text)
    assert here.all("a", aria_current="true")


async def test_a_view_of_the_same_name_takes_its_place_and_one_is_removed(site: Site) -> None:
    client = await site.client()
    await save(client, "mine", q="status:failed")
    await save(client, "mine", q="status:queued")
    await save(client, HARMFUL, q=HARMFUL)
    assert HARMFUL not in (await client.get("/runs/views")).text
    assert (await names(client))["mine"] == "/ui/runs?q=status%3Aqueued"
    await client.post("/runs/views/remove", data={"name": HARMFUL}, headers=HTMX)
    assert list(await names(client)) == ["mine"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
async def test_a_view_needs_a_name(site: Site, name: str) -> None:
    client = await site.client()
    answer = await save(client, name, q="status:failed")
    assert answer.status_code == 422
    assert "A name has 1 to 60 characters." in Page(answer.text).all("div", role="alert")[0].text
    assert await names(client) == {}


async def test_nobody_saves_more_views_than_one_looks_through(site: Site) -> None:
    client = await site.client()
    for number in range(50):
        await client.post("/runs/views/save?q=", data={"name": f"{number}"}, headers=HTMX)
    assert (await save(client, "one more")).status_code == 422
    assert (await save(client, "7", q="status:failed")).status_code == 204
    assert len(await names(client)) == 50


async def test_columns_are_chosen_by_a_form_and_remembered(site: Site) -> None:
    await site.app.enqueue("digest")
    client = await site.client()
    page = Page((await client.get("/runs")).text)
    offered = [box.attributes["value"] for box in page.all("input", name="column", type="checkbox")]
    assert offered == ["run", "by", "queue", "intended", "started", "waited", "duration", "attempt", "progress"]
    chosen = await client.get("/runs", params={"column": ["none", "queue", "run", "colour"], "q": "job:digest"})
    assert [head.text for head in Page(chosen.text).all("th")][1:] == ["Status", "Job", "Run", "Queue"]
    client.cookies.update(chosen.cookies)
    again = Page((await client.get("/runs")).text)
    assert [head.text for head in again.all("th")][1:] == ["Status", "Job", "Run", "Queue"]
    assert [box.attributes["value"] for box in again.all("input", checked="", type="checkbox")] == ["run", "queue"]
    none = Page((await client.get("/runs", params={"column": "none"})).text)
    assert [head.text for head in none.all("th")][1:] == ["Status", "Job"]


async def test_what_is_shown_anew_keeps_the_columns_of_the_address(site: Site) -> None:
    await site.app.enqueue("digest")
    client = await site.client()
    page = Page((await client.get("/runs", params={"columns": "queue"})).text)
    [live] = [link for link in links(page) if link.startswith("/ui/runs/table")]
    assert [head.text for head in Page((await client.get(live.removeprefix("/ui"))).text).all("th")][1:] == [
        "Status",
        "Job",
        "Queue",
    ]
