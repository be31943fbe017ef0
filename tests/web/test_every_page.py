"""What holds for every page, taken from the routes, so that none can be forgotten."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi.routing import APIRoute

from mainspring import Cron, JobContext, Mainspring
from mainspring.api.app import create_api
from mainspring.domain.access import Role
from mainspring.store.jobs import registration
from mainspring.store.scheduling.firing import Firing
from mainspring.web.app import HEADERS, PAGES
from mainspring.web.csrf import CSRF_HEADER
from tests.web.conftest import Page, links, mounted

if TYPE_CHECKING:
    from tests.web.conftest import Site

ROUTES: Final = [
    (method, route.path)
    for page in PAGES
    for route in page.router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]
STREAMS: Final = {"/live/events"}
FOR_STRANGERS: Final = {"/sign-in", "/sign-in/link"}
MOST_PAGES: Final = 180
ANY_ID: Final = "01890000-0000-7000-8000-000000000001"


def some(path: str) -> str:
    """Return the address of something that may not exist."""
    return re.sub(r"{[^}]+}", ANY_ID, path)


@pytest.mark.parametrize("mount", ["", "/ops/jobs"])
async def test_no_page_leaves_its_mount_or_brings_anything_inline(app: Mainspring, mount: str) -> None:
    @app.job("nightly", schedule=Cron("0 2 * * *"))
    async def _nightly(ctx: JobContext[None]) -> None: ...

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.connected())
        site = mounted(app, stack, mount)
        firing = Firing.by(app.world, app.settings.environment)
        await site.services.opened.database.tx(
            lambda connection: registration.register(connection, firing, app.registry, version="1.0")
        )
        client = await site.client()
        waiting = [some(path) for method, path in ROUTES if method == "GET" and path not in STREAMS]
        seen: set[str] = set()
        while waiting and len(seen) < MOST_PAGES:
            address = waiting.pop()
            kind = re.sub(r"=[^&]*", "", address)
            if kind in seen:
                continue
            seen.add(kind)
            waiting += [to.removeprefix(mount) for to in await _what_it_leads_to(client, address, mount)]
    assert {path for method, path in ROUTES if method == "GET" and "{" not in path} - STREAMS <= seen


async def _what_it_leads_to(client: httpx2.AsyncClient, address: str, mount: str) -> list[str]:
    answer = await client.get(address)
    assert answer.status_code < 500, (address, answer.text)
    for name, value in HEADERS.items():
        if name != "Cache-Control" or "/static/" not in address:
            assert answer.headers[name] == value, (address, name)
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return []
    page = Page(answer.text)
    for element in page.elements:
        forbidden = [name for name in element.attributes if name == "style" or name.startswith(("on", "hx-on"))]
        assert forbidden == [], (address, element)
        assert element.tag != "style", address
        assert element.tag != "script" or ("src" in element.attributes and not element.text.strip()), address
    found = [to for to in links(page) if not to.startswith("#")]
    outside = [to for to in found if urlsplit(to).netloc or not (to.startswith((f"{mount}/", "?")))]
    assert outside == [], address
    return [to for to in found if to.startswith(f"{mount}/") and "/static/" not in to]


async def test_a_stranger_sees_nothing_but_the_way_in(site: Site) -> None:
    client = await site.stranger()
    seen: dict[tuple[str, str], object] = {}
    for method, path in ROUTES:
        if path in FOR_STRANGERS:
            continue
        answer = await client.request(method, some(path))
        if answer.status_code != 303 or not answer.headers["location"].startswith("/ui/sign-in"):
            seen[method, path] = answer.status_code
    assert seen == {}


async def test_a_fragment_for_a_stranger_takes_the_whole_page_to_the_way_in(site: Site) -> None:
    answer = await (await site.stranger()).get("/keys", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"], answer.text) == (401, "/ui/sign-in", "")


async def test_no_request_changes_anything_without_the_token_of_its_session(site: Site) -> None:
    client = await site.client()
    good = client.headers.pop(CSRF_HEADER)
    taken = [
        (path, token)
        for method, path in ROUTES
        if method != "GET"
        for token in (None, "", f"{good[:-1]}0" if good[-1] != "0" else f"{good[:-1]}1")
        if (await client.request(method, some(path), headers={} if token is None else {CSRF_HEADER: token})).status_code
        != 403
    ]
    assert taken == []


async def test_a_read_only_dashboard_offers_and_does_nothing_but_what_is_the_visitor_s_own(app: Mainspring) -> None:
    own = {"/sign-in", "/sign-in/link", "/sign-out", "/clock", "/settings", "/settings/password", "/settings/sign-out"}
    own |= {"/runs/views/save", "/runs/views/remove"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.connected())
        client = await mounted(app, stack, read_only=True).client()
        assert Page((await client.get("/settings")).text).says("This dashboard is read-only")
        for method, path in ROUTES:
            if method != "GET" and path not in own:
                answer = await client.request(method, some(path))
                assert answer.status_code == 403, path
                assert Page(answer.text).says("this dashboard is read-only"), path
        assert (await client.post("/sign-out")).status_code == 303


OF_THE_PLATFORM: Final = {"Overview", "Schedules", "Queues", "Workers", "Alerts", "Repair", "Platform", "Audit log"}


@pytest.mark.parametrize(
    ("role", "organization_id", "hidden"),
    [
        (Role.ADMIN, None, set[str]()),
        (Role.OPERATOR, None, {"Audit log", "People and keys"}),
        (Role.VIEWER, None, {"Audit log", "People and keys"}),
        (Role.ADMIN, "acme", OF_THE_PLATFORM),
        (Role.MEMBER, "acme", OF_THE_PLATFORM | {"People and keys"}),
    ],
)
async def test_the_menu_holds_what_a_role_may_see(
    site: Site, role: Role, organization_id: str | None, hidden: set[str]
) -> None:
    whole = await _menu(await site.client("boss"))
    client = await site.client("somebody", role, organization_id)
    menu = await _menu(client)
    assert {name for name in whole if name not in menu} == hidden & set(whole)
    for path in menu.values():
        assert (await client.get(path)).status_code == 200, path


async def _menu(client: httpx2.AsyncClient) -> dict[str, str]:
    page = Page((await client.get("/settings")).text)
    return {
        " ".join(link.text.split()): link.attributes["href"].removeprefix("/ui")
        for link in page.elements
        if link.tag == "a" and "data-go" in link.attributes
    }


async def test_the_api_leads_to_the_dashboard_and_keeps_its_policy_for_it(app: Mainspring) -> None:
    api = create_api(app)
    async with api.router.lifespan_context(api):
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://localhost")
        answers = [await client.get(path) for path in ("/ui", "/ui/", "/ui/sign-in")]
        assert [answer.status_code for answer in answers] == [308, 303, 200]
        assert [answer.headers.get("location") for answer in answers] == ["/ui/", "/ui/sign-in", None]
        assert answers[-1].headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


async def test_a_session_opens_no_door_of_the_api(app: Mainspring) -> None:
    api = create_api(app)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(api.router.lifespan_context(api))
        cookies = (await mounted(app, stack).client()).cookies
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://localhost", cookies=cookies)
        for path in ("/v1/jobs", "/api/jobs", "/admin/jobs/status", "/admin/cron-jobs", "/admin/audit"):
            assert (await client.get(path)).status_code == 401, path


async def test_an_error_that_nobody_foresaw_is_a_page_too(site: Site) -> None:
    @site.pages.get("/broken")
    async def _broken() -> None:  # pyright: ignore[reportUnusedFunction] - a route
        raise ZeroDivisionError

    answer = await (await site.client()).get("/broken")
    assert answer.status_code == 500
    assert Page(answer.text).text("h1") == "This did not work"
    assert "ZeroDivisionError" not in answer.text


async def test_an_address_of_nothing_says_so(site: Site) -> None:
    answer = await (await site.client()).get("/nothing/here")
    assert answer.status_code == 404
    assert Page(answer.text).text("h1") == "There is no such page"
