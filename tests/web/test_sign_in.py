"""Signing in and out, in a browser without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring.control.access import AccessChanges
from mainspring.control.users import UserCommands
from mainspring.domain.access import Actor, Role
from mainspring.domain.grant import Grant
from mainspring.security.passwords import Passwords
from tests.web.conftest import Page

if TYPE_CHECKING:
    import httpx2

    from tests.web.conftest import Site

PASSWORD = "correct horse battery staple"


async def enter(site: Site, name: str = "ada") -> None:
    """Make somebody who can sign in."""
    services = site.services
    cheap = Passwords(site.app.world, PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)))
    users = UserCommands(AccessChanges(services.opened.database, services.audit), cheap, site.app.world)
    await users.create(Actor.at_terminal("dev", "root"), name, Grant(Role.ADMIN, None), PASSWORD)


async def post(client: httpx2.AsyncClient, following: str = "/keys", **fields: str) -> httpx2.Response:
    """Fill in the form and send it."""
    form = Page((await client.get("/sign-in", params={"next": following})).text)
    hidden = {field.attributes["name"]: field.attributes["value"] for field in form.all("input", type="hidden")}
    return await client.post("/sign-in", data=hidden | {"name": "ada", "password": PASSWORD} | fields)


async def test_who_knows_the_password_gets_a_session_and_where_it_wanted_to_go(site: Site) -> None:
    await enter(site)
    client = await site.stranger()
    sent_away = await client.get("/keys?x=1")
    assert sent_away.headers["location"] == "/ui/sign-in?next=/keys%3Fx%3D1"
    let_in = await post(client)
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/ui/keys")
    cookie = next(line for line in let_in.headers.get_list("set-cookie") if line.startswith("ms_session="))
    assert {"HttpOnly", "SameSite=lax", "Path=/ui"} <= set(cookie.split("; "))
    assert (await client.get("/keys")).status_code == 200


@pytest.mark.parametrize(
    "foreign", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_the_way_back_never_leads_away(site: Site, foreign: str) -> None:
    await enter(site)
    assert (await post(await site.stranger(), foreign)).headers["location"] == "/ui/"


async def test_the_tenth_wrong_password_is_the_last_that_is_looked_at(site: Site) -> None:
    await enter(site)
    client = await site.stranger()
    answers = [await post(client, password="wrong") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert Page(answers[0].text).says("the name or the password is wrong")
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_form_of_another_page_signs_nobody_in(site: Site) -> None:
    await enter(site)
    client = await site.stranger()
    answer = await client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "csrf_token": "guessed"})
    assert answer.status_code == 403
    assert "ms_session" not in client.cookies


async def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    client = await site.client()
    assert (await client.post("/sign-out")).headers["location"] == "/ui/sign-in"
    other = await site.client()
    assert (await other.get("/keys")).status_code == 303, "the session is over, whoever kept its cookie"


async def test_a_link_lets_in_once_from_this_machine(site: Site) -> None:
    await enter(site, "demo")
    word = site.services.links.issue("demo")

    async def use(client: httpx2.AsyncClient) -> httpx2.Response:
        form = Page((await client.get("/sign-in/link", params={"word": word})).text)
        fields = {field.attributes["name"]: field.attributes["value"] for field in form.all("input", type="hidden")}
        return await client.post("/sign-in/link", data=fields)

    proxied = await site.stranger()
    proxied.headers["X-Forwarded-For"] = "203.0.113.7"
    assert (await use(proxied)).status_code == 403
    client = await site.stranger()
    assert (await use(client)).headers["location"] == "/ui/"
    assert (await client.get("/keys")).status_code == 200
    again = await use(await site.stranger())
    assert again.status_code == 401
    assert Page(again.text).says("was used before")


async def test_where_nobody_could_sign_in_the_page_says_how_to_make_the_first_person(site: Site) -> None:
    page = Page((await (await site.stranger()).get("/sign-in")).text)
    assert page.says("mainspring user create NAME --role admin")
