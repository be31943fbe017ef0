"""The list of runs: what it finds, shows and changes, for those who may."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import pytest

from mainspring.domain.access import Origin, Role, Scope
from mainspring.domain.execution import Status
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from tests.web.conftest import Page, words_of

if TYPE_CHECKING:
    from mainspring import Mainspring
    from mainspring.domain.execution import Execution
    from tests.web.conftest import Site

HARMFUL = '<script>alert("x")</script>'


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with two jobs."""

    @app.job("digest", description="Sends the digest.")
    async def digest(payload: dict[str, object]) -> None:
        """Do nothing."""

    @app.job("mailing", queue="mail", on_demand=True)
    async def mailing(payload: dict[str, object]) -> None:
        """Do nothing."""

    return app


async def stored(site: Site) -> list[Execution]:
    return await site.services.opened.database.read(
        lambda connection: executions.find(connection, Scope("dev"), Filter(), most=1000)
    )


def payloads(count: int) -> list[dict[str, object]]:
    return [{"number": number} for number in range(count)]


def shown(page: Page) -> list[UUID]:
    return [UUID(row.attributes["id"].removeprefix("run-")) for row in page.all("tr", data_row="")]


async def test_a_filter_of_the_address_finds_its_runs_and_its_terms_are_chips(site: Site) -> None:
    wanted = await site.app.enqueue("digest", {})
    await site.app.enqueue("mailing", {})
    client = await site.client()
    page = Page((await client.get("/runs", params={"q": "job:digest status:queued"})).text)
    assert shown(page) == [wanted.id]
    chips = [link.attributes for link in page.all("a") if link.attributes.get("aria-label", "").startswith("Remove")]
    assert [chip["href"] for chip in chips] == ["/ui/runs?q=status%3Aqueued", "/ui/runs?q=job%3Adigest"]
    assert page.all("input", id="run-filter")[0].attributes["value"] == "job:digest status:queued"


async def test_what_cannot_be_read_is_said_with_its_place_and_finds_nothing(site: Site) -> None:
    await site.app.enqueue("digest", {})
    client = await site.client()
    page = Page((await client.get("/runs", params={"q": "job:digest statsu:failed"})).text)
    assert shown(page) == []
    assert "at character 12: there is no key 'statsu': did you mean status?" in page.everything
    typed = await client.get("/runs/hints", params={"q": "status:faild"})
    assert "did you mean failed?" in words_of(typed.text)


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("sta", ["status:", "started:"]),
        ("job:digest status:run", ["job:digest status:running "]),
        ("status:failed,run", ["status:failed,running "]),
        ("job:dig", ["job:digest "]),
        ("-queue:ma", ["-queue:mail "]),
        ("started:", ["started:<1h ", "started:<24h ", "started:<7d ", "started:>7d "]),
    ],
)
async def test_the_box_completes_keys_and_values(site: Site, typed: str, becomes: list[str]) -> None:
    client = await site.client()
    page = Page((await client.get("/runs/hints", params={"q": typed})).text)
    found = [
        element.attributes["data-completes"] for element in page.elements if "data-completes" in element.attributes
    ]
    assert found == becomes


async def test_tabs_count_each_status_of_the_rest_of_the_filter(site: Site) -> None:
    for _ in range(2):
        await site.app.enqueue("digest", {})
    await site.app.enqueue("mailing", {})
    client = await site.client()
    said = words_of((await client.get("/runs/tabs", params={"q": "job:digest status:failed"})).text)
    assert "Queued 2" in said
    assert "Failed 0" in said


async def test_rows_on_the_screen_stay_and_newer_ones_are_announced(site: Site) -> None:
    first = await site.app.enqueue("digest", {})
    client = await site.client()
    page = Page((await client.get("/runs")).text)
    live = page.all("div", id="run-table")[0].attributes["hx-get"].removeprefix("/ui")
    await site.app.enqueue("digest", {})
    anew = Page((await client.get(live)).text)
    assert shown(anew) == [first.id]
    assert "1 new: show" in anew.everything


async def test_pages_lead_to_older_runs_and_back(site: Site) -> None:
    made = [execution.id for execution in await site.app.enqueue_many("digest", payloads(60))]
    newest_first = sorted(made, reverse=True)
    client = await site.client()
    page = Page((await client.get("/runs")).text)
    assert shown(page) == newest_first[:50]
    older = Page((await client.get(page.all("a", rel="next")[0].attributes["href"].removeprefix("/ui"))).text)
    assert shown(older) == newest_first[50:]
    back = Page((await client.get(older.all("a", rel="prev")[0].attributes["href"].removeprefix("/ui"))).text)
    assert shown(back) == newest_first[:50]


async def test_a_viewer_is_offered_no_change_and_makes_none(site: Site) -> None:
    wanted = await site.app.enqueue("digest", {})
    client = await site.client("vera", Role.VIEWER)
    page = (await client.get("/runs")).text
    assert "/runs/bulk/" not in page
    assert (await client.post("/runs/bulk/cancel/chosen", data={"ids": str(wanted.id)})).status_code == 403
    assert [run.status for run in await stored(site)] == [Status.QUEUED]


async def test_a_member_sees_counts_and_exports_its_own_runs_alone(site: Site) -> None:
    await site.app.enqueue("mailing", {}, organization_id="acme", user_id="ben")
    await site.app.enqueue("mailing", {})
    client = await site.client("ann", Role.MEMBER, "acme")
    services = site.services
    me = (await services.sessions.actor_of(site.sessions["ann"], Origin())).subject
    own = await site.app.enqueue("mailing", {}, organization_id="acme", user_id=me)
    assert shown(Page((await client.get("/runs")).text)) == [own.id]
    assert "Queued 1" in words_of((await client.get("/runs/tabs")).text)
    lines = (await client.get("/runs/export.json")).text.splitlines()
    assert [orjson.loads(line)["id"] for line in lines] == [str(own.id)]


async def test_an_export_holds_all_pages_of_the_filter_and_no_formula(site: Site) -> None:
    await site.app.enqueue_many("digest", payloads(3))
    await site.app.enqueue("mailing", {}, user_id="=1+1", organization_id="acme")
    client = await site.client()
    answer = await client.get("/runs/export.csv", params={"q": "status:queued"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 4
    assert rows[0]["user"] == "'=1+1"
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'


async def test_what_users_write_is_shown_as_text(site: Site) -> None:
    await site.app.enqueue("mailing", {}, user_id=HARMFUL, organization_id="acme")
    client = await site.client()
    for page in (await client.get("/runs"), await client.get("/runs", params={"q": HARMFUL})):
        assert HARMFUL not in page.text
    assert "&lt;script&gt;" in (await client.get("/runs")).text


async def test_nothing_found_says_which_term_to_drop(site: Site) -> None:
    client = await site.client()
    assert "No runs yet" in Page((await client.get("/runs")).text).everything
    page = Page((await client.get("/runs", params={"q": "job:digest error:boom"})).text)
    assert "No runs match" in page.everything
    assert "last 24 hours" in page.everything
    assert any(link.attributes.get("href") == "/ui/runs?q=job%3Adigest" for link in page.all("a"))
