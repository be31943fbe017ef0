"""The audit log: filters that are part of the address, pages without gaps, a file without formulas, and its chain."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.access import Actor, Role
from mainspring.security.audit import Target
from mainspring.security.secret_key import Purpose
from mainspring.store.auditing import audit_chain
from mainspring.store.tables import audit_entries
from tests.web.conftest import Page

if TYPE_CHECKING:
    from tests.web.conftest import Site


async def write(site: Site, actor: str, action: str, target: Target, **more: object) -> None:
    terminal = Actor.at_terminal("dev", actor)
    await site.services.opened.database.tx(
        lambda connection: site.services.audit.record(connection, terminal, action, target, **more)  # pyright: ignore[reportArgumentType] - of a test
    )


async def seal(site: Site) -> None:
    key = site.services.secret_key.derive(Purpose.AUDIT)
    await site.services.opened.database.tx(lambda connection: audit_chain.seal(connection, key))


def actions(page: Page) -> list[str]:
    return [cell.text.split()[0] for cell in page.all("td", data_label="Action")]


async def test_it_says_who_did_what_to_what_from_where_and_old_to_new(site: Site) -> None:
    await write(
        site, "bob", "job.disable", Target("job", "<b>digest</b>"), before={"enabled": True}, after={"enabled": False},
        reason="<i>too loud</i>",
    )  # fmt: skip
    page = Page((await (await site.client()).get("/audit")).text)
    for text in ("terminal:bob", "job:<b>digest</b>", "enabled: true → false", "<i>too loud</i>"):
        assert page.says(text), text
    assert actions(page) == ["job.disable"]


async def test_filters_are_part_of_the_address_and_links_narrow_them(site: Site) -> None:
    for number in range(3):
        await write(site, "bob", "job.disable", Target("job", f"job-{number}"))
    await write(site, "eve", "job.trigger", Target("job", "job-1"), allowed=False)
    client = await site.client()
    for query, expected in (
        ("actor=terminal:bob", 3),
        ("action=job.trigger", 1),
        ("action=job.", 4),
        ("target=job:job-1", 2),
        ("target=queue", 0),
        ("outcome=denied", 1),
        ("since=2020-01-01T00:00&until=2020-01-02", 0),
        ("since=2020-01-01", 4),
    ):
        page = Page((await client.get(f"/audit?{query}")).text)
        assert len(actions(page)) == expected, query
    assert page.all("a", href="/ui/audit?actor=terminal%3Abob&since=2020-01-01")
    unreadable = Page((await client.get("/audit?since=yesterday")).text)
    assert unreadable.says("'yesterday' is no time")
    assert actions(unreadable) == []


async def test_pages_follow_each_other_without_gap(site: Site) -> None:
    for number in range(60):
        await write(site, "bob", "job.disable", Target("job", f"job-{number:02}"))
    client = await site.client()
    first = Page((await client.get("/audit")).text)
    [older] = first.all("a", rel="next")
    second = Page((await client.get(older.attributes["href"].removeprefix("/ui"))).text)
    targets = [cell.text for page in (first, second) for cell in page.all("td", data_label="Object")]
    assert sorted(targets) == [f"job:job-{number:02}" for number in range(60)]
    assert not second.all("a", rel="next")


async def test_the_file_holds_the_filter_and_no_formula(site: Site) -> None:
    await write(site, "bob", "job.disable", Target("job", "digest"), reason='=HYPERLINK("http://evil")')
    await write(site, "eve", "job.trigger", Target("job", "digest"))
    answer = await (await site.client()).get("/audit/export.csv?action=job.disable")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["actor"], row["reason"]) == ("terminal:bob", '\'=HYPERLINK("http://evil")')


async def test_the_chain_is_verified_and_says_where_it_is_broken(site: Site) -> None:
    await write(site, "bob", "job.disable", Target("job", "digest"))
    await seal(site)
    client = await site.client()
    assert Page((await client.get("/audit")).text).says("Sealed up to entry 1")
    assert "Verified up to entry 1 by ada" in (await client.post("/audit/verify")).text
    await site.services.opened.database.tx(
        lambda connection: connection.execute(sa.update(audit_entries).values(reason="nothing happened"))
    )
    assert "Broken:" in (await client.post("/audit/verify")).text


async def test_only_who_may_view_the_audit_sees_it(site: Site) -> None:
    client = await site.client("olga", Role.OPERATOR)
    for path in ("/audit", "/audit/export.csv"):
        assert (await client.get(path)).status_code == 403
    assert (await client.post("/audit/verify")).status_code == 403
