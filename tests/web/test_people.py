"""People, keys and one's own access: secrets are shown once, and nobody locks everybody out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Origin, Role, Scope
from mainspring.store.identity import api_keys, users
from mainspring.web.visit import SESSION_COOKIE
from tests.web.conftest import Page

if TYPE_CHECKING:
    import httpx2

    from mainspring.store.identity.api_keys import ApiKey
    from mainspring.store.identity.users import User
    from tests.web.conftest import Site

HERE = Origin(address="192.0.2.7")
NEW = "another horse, another battery"


async def user(site: Site, name: str) -> User | None:
    return await site.services.opened.database.read(lambda connection: users.get(connection, Scope("dev"), name))


async def keys(site: Site) -> list[ApiKey]:
    return await site.services.opened.database.read(lambda connection: api_keys.find(connection, Scope("dev")))


def secrets(html: str) -> list[str]:
    return [code.text for code in Page(html).all("code")]


async def add(client: httpx2.AsyncClient, name: str, role: str) -> str:
    answer = await client.post("/people/users/new", data={"name": name, "role": role})
    assert answer.status_code == 200, answer.text
    [password] = secrets(answer.text)
    return password


async def test_somebody_new_signs_in_with_the_password_that_is_shown_once(site: Site) -> None:
    client = await site.client()
    password = await add(client, "bob", "operator")
    assert await site.services.logins.sign_in("bob", password, HERE)
    page = await client.get("/people")
    assert "bob" in page.text
    assert password not in page.text
    assert (await client.post("/people/users/new", data={"name": "bob", "role": "viewer"})).status_code == 409
    again = await client.post("/people/users/bob/password")
    [other] = secrets(again.text)
    assert await site.services.logins.sign_in("bob", other, HERE)


async def test_roles_change_and_people_are_disabled_enabled_and_signed_out(site: Site) -> None:
    client = await site.client()
    await add(client, "bob", "operator")
    session = await site.client("bob")
    dialog = Page((await client.get("/people/users/bob/role")).text)
    assert "operator" in dialog.everything
    assert (await client.post("/people/users/bob/role", data={"role": "viewer"})).status_code < 400
    changed = await user(site, "bob")
    assert changed is not None
    assert changed.role is Role.VIEWER
    assert (await session.get("/settings")).status_code == 303  # it has to sign in again
    for action, is_disabled in (("disable", True), ("enable", False), ("sign-out", False)):
        assert "bob" in (await client.get(f"/people/users/bob/{action}")).text
        assert (await client.post(f"/people/users/bob/{action}")).status_code < 400
        found = await user(site, "bob")
        assert found is not None
        assert (found.disabled_at is not None) is is_disabled


async def test_nobody_changes_themselves_or_goes_beyond_their_own(site: Site) -> None:
    client = await site.client()
    for action in ("disable", "role"):
        answer = await client.post(f"/people/users/ada/{action}", data={"role": "viewer"})
        assert answer.status_code in {403, 409}
    page = Page((await client.get("/people")).text)
    assert not [button for button in page.all("button") if button.text.endswith(" ada")]
    acme = await site.client("adam", Role.ADMIN, "acme")
    shown = Page((await acme.get("/people")).text)
    assert shown.says("adam (you)")
    assert not shown.says("ada admin")
    assert (await acme.post("/people/users/ada/disable")).status_code >= 400
    await add(acme, "mia", "member")
    mia = await user(site, "mia")
    assert mia is not None
    assert mia.organization_id == "acme"
    own = await acme.post("/people/keys/organization", data={"organization": "globex", "role": "member"})
    assert secrets(own.text)
    assert [key.organization_id for key in await keys(site)] == ["acme"]
    assert (await (await site.client("olga", Role.OPERATOR)).get("/people")).status_code == 403


async def test_a_key_is_shown_once_and_revoked(site: Site) -> None:
    client = await site.client()
    made = await client.post("/people/keys/organization", data={"organization": "acme", "role": "member"})
    key, signing_secret = secrets(made.text)
    assert key.startswith("msk_")
    assert signing_secret.startswith("whsec_")
    [stored] = await keys(site)
    assert (stored.organization_id, stored.role) == ("acme", Role.MEMBER)
    page = Page((await client.get("/people")).text)
    assert page.says("organization acme")
    assert key not in page.everything
    assert (await client.post(f"/people/keys/{stored.id}/revoke")).status_code < 400
    assert (await keys(site))[0].revoked_at is not None
    assert Page((await client.get("/people")).text).says("Revoked")


async def test_everybody_changes_their_own_password_and_goes_on(site: Site) -> None:
    password = await add(await site.client(), "bob", "viewer")
    client, other = await site.client("bob"), await site.stranger()
    other.cookies.set(SESSION_COOKIE, await site.services.logins.sign_in("bob", password, HERE))
    wrong = await client.post("/settings/password", data={"present": "wrong", "new": NEW})
    assert wrong.status_code == 422
    assert "the name or the password is wrong" in wrong.text
    short = await client.post("/settings/password", data={"present": password, "new": "short"})
    assert short.status_code == 422
    changed = await client.post("/settings/password", data={"present": password, "new": NEW})
    assert changed.status_code == 303
    cookie = changed.headers["set-cookie"]
    assert all(word in cookie for word in (SESSION_COOKIE, "HttpOnly", "SameSite=lax"))
    session_id = cookie.split("=", 1)[1].split(";", 1)[0]
    fresh = await site.stranger()
    fresh.cookies.set(SESSION_COOKIE, session_id)
    assert (await fresh.get("/settings?saved=password")).status_code == 200
    assert (await other.get("/settings")).status_code == 303
    assert await site.services.logins.sign_in("bob", NEW, HERE)


async def test_settings_stay_in_the_browser_and_signing_out_everywhere_ends_them_all(site: Site) -> None:
    client = await site.client("vera", Role.VIEWER)
    chosen = {"clock": "mine", "zone": "Asia/Kathmandu", "density": "compact", "keys": "off"}
    assert (await client.post("/settings", data=chosen)).status_code == 303
    page = Page((await client.get("/settings")).text)
    body = page.all("body")[0].attributes
    assert (body["data-keys"], body["data-density"]) == ("off", "compact")
    assert page.all("input", name="zone")[0].attributes["value"] == "Asia/Kathmandu"
    assert page.all("input", name="density", value="compact")[0].attributes.get("checked") is not None
    unknown = await client.post("/settings", data=chosen | {"zone": "Mars/Olympus"})
    assert unknown.status_code == 422
    assert "There is no time zone" in unknown.text
    assert (await client.post("/settings/sign-out")).status_code == 303
    assert (await client.get("/settings")).status_code == 303
