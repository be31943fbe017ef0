"""The pages of schedules: what they show, what they let whom change, and that nothing is saved that cannot be read."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from mainspring import Cron, Retry, Thresholds
from mainspring.domain.access import Role
from mainspring.domain.health import Health, HealthState
from mainspring.domain.rules.watched_job import Streak
from mainspring.store.analytics import rollups
from mainspring.store.jobs import definitions, registration
from mainspring.store.monitoring import health
from mainspring.store.monitoring.health import Finding
from mainspring.store.scheduling import pauses, schedules
from mainspring.store.scheduling.firing import Firing
from tests.web import runs
from tests.web.conftest import Page, take_back, words_of

if TYPE_CHECKING:
    import httpx2

    from mainspring import Mainspring
    from mainspring.store.engine.database import Connection
    from mainspring.store.scheduling.pauses import PauseOfAll
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}
HARMFUL = "<script>alert(1)</script>"


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    app.job("digest", schedule=Cron("0 9 * * MON"), display_name="Weekly trending digest", group="email")(nothing)
    app.job("partner", schedule=Cron("0 10 * * MON"), display_name="Partner report")(nothing)
    app.job("off", schedule=Cron("0 3 * * *"), display_name=HARMFUL, enabled=False)(nothing)
    app.job("payout", schedule=Cron("0 4 * * *"), critical=True)(nothing)
    app.job("asked-for")(nothing)
    return app


@pytest.fixture
async def site(site: Site) -> Site:
    await register(site)
    return site


async def register(site: Site) -> None:
    who = Firing.by(site.app.world, site.app.settings.environment)
    await site.services.opened.database.tx(lambda connection: registration.register(connection, who, site.app.registry))


async def nothing() -> None: ...


async def stored(site: Site, name: str = "digest") -> StoredSchedule:
    environment = site.app.settings.environment
    found = await site.services.opened.database.read(lambda connection: schedules.get(connection, environment, name))
    assert found is not None
    return found


async def edit(client: httpx2.AsyncClient, site: Site, expression: str, **fields: Any) -> httpx2.Response:
    version = (await stored(site)).version
    form = {"expression": expression, "timezone": "UTC", "version": version, **fields}
    return await client.post("/schedules/digest/cron", data=form, headers=HTMX)


async def test_the_list_says_when_each_job_runs_and_which_wait_to_be_enabled(site: Site) -> None:
    client = await site.client()
    page = Page((await client.get("/schedules")).text)
    assert page.says("Every Monday at 9:00 AM")
    assert page.says("new, off")
    assert page.says(HARMFUL)
    assert not page.says("asked-for")
    names = [row.attributes["id"] for row in page.elements if "data-row" in row.attributes]
    assert names == ["row-digest", "row-off", "row-partner", "row-payout", "row-platform-self-check"]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("tab=disabled", ["off"]),
        ("q=digest", ["digest"]),
        ("q=group:email", ["digest"]),
        ("q=service:nobody", []),
        ("tab=failing", []),
        ("tab=nonsense", ["digest", "off", "partner", "payout", "platform-self-check"]),
    ],
)
async def test_the_filter_and_the_tabs_leave_out_the_others(site: Site, query: str, rows: list[str]) -> None:
    page = Page((await (await site.client()).get(f"/schedules/status?{query}")).text)
    found = [row.attributes["id"] for row in page.elements if "data-row" in row.attributes]
    assert found == [f"row-{name}" for name in rows]


async def test_a_page_asks_as_many_statements_for_fifty_schedules_as_for_three(site: Site) -> None:
    client = await site.client()
    few = await statements(site, client)
    for number in range(47):
        site.app.job(f"more-{number}", schedule=Cron("0 9 * * *"))(nothing)
    await register(site)
    assert await statements(site, client) == few


async def statements(site: Site, client: httpx2.AsyncClient) -> int:
    counted: list[str] = []

    def count(*facts: Any) -> None:
        counted.append(str(facts[2]))

    event.listen(sa.engine.Engine, "before_cursor_execute", count)
    try:
        assert (await client.get("/schedules/status")).status_code == HTTPStatus.OK
    finally:
        event.remove(sa.engine.Engine, "before_cursor_execute", count)
    return len(counted)


async def test_disabling_asks_first_then_stops_and_can_be_undone(site: Site) -> None:
    client = await site.client()
    dialog = Page((await client.get("/schedules/digest/disable", headers=HTMX)).text)
    assert "Disable Weekly trending digest" in dialog.all("button", type="submit")[0].text
    target = dialog.all("form")[0].attributes["hx-post"].removeprefix("/ui")
    done = await client.post(target, data={"reason": "incident 7"}, headers=HTMX)
    found = await stored(site)
    assert f'"path":"/ui/schedules/digest/enable?version={found.version}"' in done.headers["HX-Trigger"]
    assert (found.enabled, found.override and found.override.reason) == (False, "incident 7")
    await client.post(f"/schedules/digest/enable?version={found.version}", headers=HTMX)
    assert (await stored(site)).enabled


@pytest.mark.parametrize("verb", ["enable", "disable", "reset"])
async def test_who_has_seen_an_older_schedule_switches_nothing_and_is_told_who_was_first(site: Site, verb: str) -> None:
    grace, ada = await site.client("grace"), await site.client()
    seen = Page((await ada.get(f"/schedules/digest/{verb}", headers=HTMX)).text).all("form")[0].attributes["hx-post"]
    await edit(grace, site, "0 11 * * MON")
    before = await stored(site)
    answer = await ada.post(seen.removeprefix("/ui"), headers=HTMX)
    assert answer.status_code == HTTPStatus.CONFLICT
    page = Page(answer.text)
    assert "grace changed this" in page.all("div", role="alert")[0].text
    assert page.all("form")[0].attributes["hx-post"].endswith(f"?version={before.version}")
    assert await stored(site) == before


async def test_the_name_of_a_critical_job_has_to_be_typed_before_it_stops(site: Site) -> None:
    client = await site.client()
    dialog = Page((await client.get("/schedules/payout/disable", headers=HTMX)).text)
    assert dialog.all("input", name="typed_name")[0].attributes["data-must-equal"] == "payout"
    refused = await client.post("/schedules/payout/disable?version=1", data={"reason": "wrong sums"}, headers=HTMX)
    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await stored(site, "payout")).enabled
    said = {"reason": "wrong sums", "typed_name": "payout"}
    assert (await client.post("/schedules/payout/disable?version=1", data=said, headers=HTMX)).status_code == 204
    assert not (await stored(site, "payout")).enabled


async def test_the_editor_says_what_an_hour_later_means_and_what_it_meets(site: Site) -> None:
    client = await site.client()
    asked = {"expression": "0 10 * * MON", "timezone": "Europe/Rome"}
    preview = words_of((await client.get("/schedules/digest/cron/preview", params=asked, headers=HTMX)).text)
    assert "10:00 AM" in preview
    assert "Clock change Sun 28 Mar 2027" in preview
    met = words_of(
        (await client.get("/schedules/digest/cron/preview", params={**asked, "timezone": "UTC"}, headers=HTMX)).text
    )
    assert "One other schedule of queue default fires at the same time: partner" in met


async def test_what_cannot_be_read_is_marked_and_saves_nothing(site: Site) -> None:
    client = await site.client()
    answer = await edit(client, site, "0 25 * * *")
    page = Page(answer.text)
    assert answer.status_code == HTTPStatus.CONFLICT
    assert "the old schedule goes on" in page.all("div", role="alert")[0].text
    assert "disabled" in page.all("button", type="submit")[0].attributes
    assert [element.text for element in page.all("div", class_="c-fail")] == ["25hour, wrong"]
    assert (await stored(site)).text.expression == "0 9 * * MON"


async def test_a_change_is_in_force_at_once_and_its_undo_puts_back_what_was(site: Site) -> None:
    client = await site.client()
    done = await edit(client, site, "0 10 * * MON", reason="after the peak", hours="24")
    assert done.status_code == HTTPStatus.NO_CONTENT
    found = await stored(site)
    assert found.text.expression == "0 10 * * MON"
    assert found.override is not None
    assert found.override.expires_at is not None
    assert Page((await client.get("/schedules")).text).says("edited")
    assert (await client.post(f"/schedules/digest/cron/undo/{found.version}", headers=HTMX)).status_code == 204
    assert (await stored(site)).text.expression == "0 9 * * MON"


async def test_who_comes_second_is_told_who_was_first_and_sees_both(site: Site) -> None:
    grace, ada = await site.client("grace"), await site.client()
    version = (await stored(site)).version
    await edit(grace, site, "0 11 * * MON")
    answer = await edit(ada, site, "0 10 * * MON", version=version)
    [told] = Page(answer.text).all("div", role="alert")
    assert "grace changed this" in told.text
    assert "0 11 * * MON" in told.text
    assert "0 10 * * MON" in told.text
    assert (await stored(site)).text.expression == "0 11 * * MON"


async def test_who_may_not_edit_looks_at_the_same_dialog(site: Site) -> None:
    operator = await site.client("olga", Role.OPERATOR)
    page = Page((await operator.get("/schedules/digest/cron")).text)
    assert page.text("title").startswith("Change schedule")
    assert not page.all("button", type="submit", class_="btn btn-primary")
    assert (await edit(operator, site, "0 10 * * MON")).status_code == HTTPStatus.FORBIDDEN
    viewer = await site.client("vera", Role.VIEWER)
    assert not Page((await viewer.get("/schedules")).text).all("input", role="switch")
    assert (await viewer.post("/schedules/digest/disable?version=1", headers=HTMX)).status_code == HTTPStatus.FORBIDDEN
    assert (await stored(site)).enabled


async def test_many_are_disabled_at_once_and_what_fails_is_named(site: Site) -> None:
    client = await site.client()
    asked = await client.get("/schedules/bulk/disable", params={"names": ["digest", "partner"]}, headers=HTMX)
    assert "Disable the 2 selected?" in asked.text
    done = await client.post("/schedules/bulk/disable", data={"names": ["digest", "asked-for"]}, headers=HTMX)
    assert "1 done, 1 not: asked-for" in done.headers["HX-Trigger"]
    assert not (await stored(site)).enabled


async def test_a_run_is_asked_for_once(site: Site) -> None:
    client = await site.client()
    assert (await client.post("/schedules/digest/run", headers=HTMX)).status_code == HTTPStatus.NO_CONTENT
    again = await client.post("/schedules/digest/run", headers=HTMX)
    assert (again.status_code, "Job already running" in again.text) == (HTTPStatus.CONFLICT, True)


async def test_the_page_of_a_schedule_answers_why_it_did_not_run(site: Site) -> None:
    client = await site.client()
    environment = site.app.settings.environment

    def an_hour_missed(connection: Connection) -> None:
        who = Firing.by(site.app.world, environment)
        connection.execute(sa.text("update mainspring.schedules set watermark = watermark - 8 * 86400 * 1000000"))
        schedules.change(connection, who, "digest", {"override_enabled": False})

    await site.services.opened.database.tx(an_hour_missed)
    page = Page((await client.get("/schedules/digest")).text)
    assert page.says("Why did it not run?")
    assert page.says("nobody had fired it when the schedule was changed")
    none = Page((await client.get("/schedules/digest?outcome=fired")).text)
    assert not none.says("nobody had fired it when the schedule was changed")


async def test_the_page_of_a_schedule_writes_spans_shares_and_health_for_people(site: Site) -> None:
    site.app.job(
        "spans",
        schedule=Cron("0 9 * * MON"),
        timeout=timedelta(hours=1),
        retry=Retry(max_retries=2, base=timedelta(minutes=5)),
        thresholds=Thresholds(staleness=timedelta(days=8), failure_rate=0.25),
    )(nothing)
    await register(site)
    client = await site.client()
    shown = words_of((await client.get("/schedules/spans")).text)
    assert "Timeout 1 h " in shown
    assert "base 5 min, " in shown
    assert "Misfire fire once" in shown
    assert "Jitter none" in shown
    assert "Silence after a due run 8d" in shown
    assert "Share of failures, % 25" in shown
    assert "not judged yet; a node with the role monitor does it" in shown
    await client.post("/schedules/spans/disable?version=1", headers=HTMX)
    assert "Disabled nothing fires it until it is enabled again" in words_of(
        (await client.get("/schedules/spans")).text
    )


async def test_the_changes_of_a_schedule_are_told_fact_by_fact(site: Site) -> None:
    client = await site.client()
    await client.post("/schedules/digest/disable?version=1", data={"reason": "too loud"}, headers=HTMX)
    changes = words_of((await client.get("/schedules/digest")).text).partition("Old → new")[2]
    assert "enabled: true → false" in changes
    assert "too loud" in changes


async def test_the_statistics_of_a_schedule_count_items_by_day(site: Site) -> None:
    await runs.ended(site, ago=timedelta(hours=3), items_processed=1_250)
    await site.services.opened.database.tx(lambda connection: rollups.roll(connection, site.app.settings.environment))
    page = Page((await (await site.client()).get("/schedules/digest")).text)
    assert [cell.text for cell in page.all("td", data_label="Items")] == ["1,250"]


async def test_a_schedule_says_how_its_last_run_ended_and_how_the_job_is_with_the_reason(site: Site) -> None:
    await runs.ended(site, ago=timedelta(hours=3))
    found = Health(HealthState.HEALTHY, "the last 4 runs of digest succeeded")
    finding = Finding("digest", found, None, None, None, Streak(), ())
    environment = site.app.settings.environment
    await site.services.opened.database.tx(lambda connection: health.write(connection, environment, [finding]))
    client = await site.client()
    assert "Succeeded 3 h ago" in words_of((await client.get("/schedules")).text)
    assert "Healthy the last 4 runs of digest succeeded" in words_of((await client.get("/schedules/digest")).text)


async def thresholds(site: Site) -> dict[str, Any]:
    """Return what stands in the place of the thresholds of the code."""
    environment = site.app.settings.environment
    found = await site.services.opened.database.read(
        lambda connection: definitions.get(connection, environment, "digest")
    )
    assert found is not None
    return dict(found.override.get("thresholds", {}))


async def test_thresholds_are_changed_beside_the_code_and_taken_back(site: Site) -> None:
    client = await site.client()
    assert Page((await client.get("/schedules/digest")).text).says("Change thresholds")
    dialog = Page((await client.get("/schedules/digest/thresholds", headers=HTMX)).text)
    form = {field.attributes["name"]: field.attributes.get("value", "") for field in dialog.all("input")}
    assert (form["failure_rate"], form["staleness"], form["execution_time"]) == ("20", "", "")
    wanted = form | {"failure_rate": "12.5 %", "execution_time": "1h30m", "reason": "it grows"}
    done = await client.post("/schedules/digest/thresholds", data=wanted, headers=HTMX)
    said = orjson.loads(done.headers["HX-Trigger"])["ms:toast"]["words"]
    assert said == "Weekly trending digest: share of failures, % 20 → 12.5, longest run none → 1h30m"
    now = await thresholds(site)
    assert (now["failure_rate"], now["execution_time"]) == (0.125, 5_400)
    anew = Page((await client.get("/schedules/digest/thresholds", headers=HTMX)).text)
    version = anew.all("input", name="version")[0].attributes["value"]
    assert "code says 20" in anew.everything
    taken_back = {"version": version, "reset": "true"}
    assert (await client.post("/schedules/digest/thresholds", data=taken_back, headers=HTMX)).status_code == 204
    assert await thresholds(site) == {}


async def test_other_thresholds_and_their_reset_are_taken_back(site: Site) -> None:
    client = await site.client()
    first = await client.post("/schedules/digest/thresholds", data={"version": "1", "recovery": "3"}, headers=HTMX)
    await take_back(client, first)
    assert await thresholds(site) == {}
    await client.post("/schedules/digest/thresholds", data={"version": "3", "recovery": "4"}, headers=HTMX)
    second = await client.post("/schedules/digest/thresholds", data={"version": "4", "recovery": "5"}, headers=HTMX)
    await take_back(client, second)
    assert (await thresholds(site))["recovery"] == 4
    await client.post("/schedules/digest/thresholds", data={"version": "6", "recovery": "6"}, headers=HTMX)
    assert (await take_back(client, second)).status_code == HTTPStatus.CONFLICT
    reset = await client.post("/schedules/digest/thresholds", data={"version": "7", "reset": "true"}, headers=HTMX)
    await take_back(client, reset)
    assert (await thresholds(site))["recovery"] == 6


async def test_a_threshold_that_cannot_be_is_told_beside_its_field(site: Site) -> None:
    client = await site.client()
    said = {"version": "1", "failure_rate": "120", "recovery": "", "staleness": "soon", "least_items": "1.5"}
    answer = await client.post("/schedules/digest/thresholds", data=said, headers=HTMX)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    wrong = {each.attributes["id"]: each.text for each in Page(answer.text).all("div", class_="invalid-feedback")}
    assert wrong == {
        "wrong-failure_rate": "Write a percentage, 0 to 100.",
        "wrong-recovery": "This one always has a value.",
        "wrong-staleness": "Write a span such as 30m or 1h30m, 1s to 365d.",
        "wrong-least_items": "Write a whole number, 1 to 9007199254740992.",
    }
    assert await thresholds(site) == {}


async def test_of_two_who_change_thresholds_the_second_is_told_who_was_first(site: Site) -> None:
    grace, ada = await site.client("grace"), await site.client()
    dialog = Page((await ada.get("/schedules/digest/thresholds", headers=HTMX)).text)
    version = dialog.all("input", name="version")[0].attributes["value"]
    said = {"version": version, "recovery": "2"}
    assert (await grace.post("/schedules/digest/thresholds", data=said, headers=HTMX)).status_code == 204
    answer = await ada.post("/schedules/digest/thresholds", data=said | {"recovery": "3"}, headers=HTMX)
    assert answer.status_code == HTTPStatus.CONFLICT
    assert "grace changed this" in Page(answer.text).all("div", role="alert")[0].text
    assert (await thresholds(site))["recovery"] == 2
    operator = await site.client("olga", Role.OPERATOR)
    assert not Page((await operator.get("/schedules/digest")).text).says("Change thresholds")
    assert (await operator.post("/schedules/digest/thresholds", data=said, headers=HTMX)).status_code == 403


@pytest.mark.parametrize("path", ["/schedules/nobody", "/schedules/nobody/cron", "/schedules/asked-for"])
async def test_what_has_no_schedule_has_no_page(site: Site, path: str) -> None:
    assert (await (await site.client()).get(path)).status_code == HTTPStatus.NOT_FOUND


async def test_everything_is_paused_with_a_banner_on_every_page_and_resumed(site: Site) -> None:
    client = await site.client()
    assert "Pause all schedules of dev?" in (await client.get("/pause", headers=HTMX)).text
    await client.post("/pause", data={"reason": "incident 7", "stop_runs": "true"}, headers=HTMX)
    page = Page((await client.get("/queues")).text)
    assert page.says("All schedules are paused since now, by ada.")
    assert page.says("incident 7")
    assert Page((await client.get("/schedules")).text).says("Everything is paused")
    await client.post("/resume", headers=HTMX)
    assert not words_of((await client.get("/banner")).text)
    environment = site.app.settings.environment
    database = site.services.opened.database
    assert await database.read(lambda connection: pauses.in_force(connection, environment)) is None


async def paused(site: Site) -> PauseOfAll | None:
    environment = site.app.settings.environment
    return await site.services.opened.database.read(lambda connection: pauses.in_force(connection, environment))


async def test_a_pause_of_all_and_its_end_are_taken_back_unless_somebody_has_changed_it_since(site: Site) -> None:
    client = await site.client()
    begun = await client.post("/pause", data={"minutes": "60", "reason": "incident 7"}, headers=HTMX)
    before = await paused(site)
    assert Page((await client.get("/pause/switch", headers=HTMX)).text).says("Resume all")
    await take_back(client, begun)
    assert await paused(site) is None
    await client.post("/pause", data={"minutes": "60", "reason": "incident 7"}, headers=HTMX)
    ended = await client.post("/resume", headers=HTMX)
    await take_back(client, ended)
    again = await paused(site)
    assert before is not None
    assert again is not None
    assert (again.by, again.reason, again.ends_at is None) == (before.by, "incident 7", False)
    assert (await take_back(client, ended)).status_code == HTTPStatus.CONFLICT
    assert (await take_back(client, begun)).status_code == HTTPStatus.CONFLICT
    assert await paused(site) == again
    anew = await client.post("/pause", data={"reason": "longer"}, headers=HTMX)
    assert "undo" not in orjson.loads(anew.headers["HX-Trigger"])["ms:toast"], "it has changed a pause, not begun one"


async def test_who_may_not_change_pauses_nothing(site: Site) -> None:
    viewer = await site.client("vera", Role.VIEWER)
    assert not Page((await viewer.get("/schedules")).text).says("Pause all…")
    assert (await viewer.post("/pause", headers=HTMX)).status_code == HTTPStatus.FORBIDDEN
