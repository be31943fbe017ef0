"""The page of one run: what happened, why, and what can be done about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import pytest
import sqlalchemy as sa

from mainspring.domain.access import Role, Scope
from mainspring.domain.execution import Attempt, Execution, Outcome, Status, Trigger
from mainspring.store.runs import executions
from mainspring.store.tables import execution_logs
from mainspring.store.tables import executions as history
from mainspring.web.run_error import marked
from mainspring.web.run_timeline import timeline
from mainspring.web.run_value import tree, visible
from mainspring.web.words_run import RUN
from mainspring.world import uuid7
from tests.web.conftest import Page, words_of

if TYPE_CHECKING:
    from typing import Any

    import httpx2

    from mainspring import Mainspring
    from tests.web.conftest import Site

MOST_ELEMENTS = 1_100
"""Of a part of a log: a page has 1,500 in all."""
HARMFUL = '<script>alert("x")</script>'
TRACE = """Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/client.py", line 9, in get
    raise NoAnswer(host)
  File "shop/jobs.py", line 3, in run
    client.get(host)
client.NoAnswer: nobody answers
"""


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with a job that hides a field."""

    @app.job("digest", sensitive=["card"], on_demand=True)
    async def digest(payload: dict[str, object]) -> None:
        """Do nothing."""

    return app


async def ended(site: Site, **said: Any) -> UUID:
    """Write a run that has failed."""
    now = site.app.world.now()
    run_id = site.app.world.new_id()
    row: dict[str, Any] = {
        "id": run_id,
        "environment": "dev",
        "queue": "default",
        "job_name": "digest",
        "trigger": "api",
        "created_at": now - timedelta(minutes=5),
        "updated_at": now,
        "started_at": now - timedelta(minutes=4),
        "completed_at": now,
        "duration_ms": 240_000,
        "status": "failed",
        "outcome": "failed",
        "attempt": 1,
        "fence": 1,
        "max_retries": 3,
        "error": orjson.dumps(
            {"class": "transient", "type": "NoAnswer", "message": "nobody answers", "trace": TRACE, "fingerprint": "f1"}
        ).decode(),
        "error_message": "nobody answers",
        "error_fingerprint": "f1",
    }
    await site.services.opened.database.tx(lambda connection: connection.execute(sa.insert(history).values(row | said)))
    return run_id


async def say(site: Site, run_id: UUID, *lines: tuple[str, str]) -> None:
    """Write lines of its log."""
    rows = [
        {"execution_id": run_id, "attempt": 1, "at": site.app.world.now(), "level": level, "message": message}
        for level, message in lines
    ]
    await site.services.opened.database.tx(lambda connection: connection.execute(sa.insert(execution_logs), rows))


async def stored(site: Site, run_id: UUID) -> Execution:
    found = await site.services.opened.database.read(
        lambda connection: executions.get(connection, Scope("dev"), run_id)
    )
    assert found is not None
    return found


async def test_a_failed_run_shows_its_traceback_at_once_with_own_code_marked(site: Site) -> None:
    run_id = await ended(site)
    await ended(site)
    page = Page((await (await site.client()).get(f"/runs/{run_id}")).text)
    [pane] = [each for each in page.all("div", role="tabpanel") if "active" in each.attributes["class"]]
    assert "client.NoAnswer: nobody answers" in pane.text
    assert [line.text.strip() for line in page.all("span", class_="own")] == [
        'File "shop/jobs.py", line 3, in run',
        "client.get(host)",
    ]
    assert "2 runs failed with this error in the last 24 hours" in page.everything
    assert "This kind of trouble passes" in page.everything


async def test_what_the_state_forbids_is_disabled_with_the_reason(site: Site) -> None:
    client = await site.client()
    failed = Page((await client.get(f"/runs/{await ended(site)}")).text)
    used_up = Page((await client.get(f"/runs/{await ended(site, retry_count=3)}")).text)
    queued = Page((await client.get(f"/runs/{(await site.app.enqueue('digest', {})).id}")).text)

    def reason(page: Page, label: str) -> str | None:
        button = next(each for each in page.all("button") if each.text.strip().startswith(label))
        return button.attributes.get("title") if "disabled" in button.attributes else None

    assert (reason(failed, "Retry"), reason(failed, "Cancel…")) == (None, "It has ended")
    assert reason(used_up, "Retry") == "It has no retries left of 3: run it again instead"
    assert (reason(queued, "Retry"), reason(queued, "Cancel…")) == ("Only failed runs can be retried", None)


async def test_a_cancel_with_its_reason_is_among_the_events(site: Site) -> None:
    run = await site.app.enqueue("digest", {})
    client = await site.client()
    assert "it ends at once" in words_of((await client.get(f"/runs/{run.id}/cancel")).text)
    answer = await client.post(f"/runs/{run.id}/cancel", data={"reason": "not today"}, headers={"HX-Request": "true"})
    assert "digest is being cancelled" in answer.headers["HX-Trigger"]
    assert (await stored(site, run.id)).status is Status.CANCELLED
    events = Page((await client.get(f"/runs/{run.id}")).text).all("li", class_="list-group-item d-flex flex-wrap gap-2")
    assert any("Cancelled" in event.text and "not today" in event.text for event in events)


async def test_a_retry_queues_the_run_again_under_its_id(site: Site) -> None:
    run_id = await ended(site)
    client = await site.client()
    assert "Retry 1 of 3" in words_of((await client.get(f"/runs/{run_id}/retry")).text)
    assert (await client.post(f"/runs/{run_id}/retry", headers={"HX-Request": "true"})).status_code == 204
    assert (await stored(site, run_id)).status is Status.QUEUED
    viewer = await site.client("vera", Role.VIEWER)
    assert (await viewer.post(f"/runs/{run_id}/cancel")).status_code == 403
    assert f"/runs/{run_id}/cancel" not in (await viewer.get(f"/runs/{run_id}")).text


async def test_the_log_is_shown_by_level_and_text_in_chunks_from_its_end(site: Site) -> None:
    run_id = await ended(site)
    await say(site, run_id, *[("info", f"line {number}.") for number in range(600)], ("error", "it broke"))
    client = await site.client()
    last = await client.get(f"/runs/{run_id}/logs")
    assert "line 599." in last.text
    assert "line 100." not in last.text
    first, earlier = await parts_of_log(client, last.text)
    assert ("line 0." in first, "line 499." in first, "line 500." in first) == (True, True, False)
    assert ("line 0." in earlier, "line 100." in earlier, "line 101." in earlier) == (True, True, False)
    assert 'id="log-earlier" hidden' in first
    assert 'id="log-earlier" hidden' in earlier
    *_, later, latest = await parts_of_log(client, first)
    assert ("line 499." in later, "line 500." in later, "it broke" in later) == (False, True, True)
    assert latest == last.text
    assert len(await parts_of_log(client, later)) == 2, "nothing is later"
    errors = words_of((await client.get(f"/runs/{run_id}/logs", params={"level": "error"})).text)
    assert "it broke" in errors
    assert "line 5" not in errors
    assert "line 7." in (await client.get(f"/runs/{run_id}/logs", params={"search": "LINE 7."})).text
    assert len((await client.get(f"/runs/{run_id}/log.txt")).text.splitlines()) == 601


async def test_a_log_of_100_000_lines_is_sent_in_parts_which_together_are_the_whole(site: Site) -> None:
    run_id = await ended(site)
    await say(site, run_id, *[("info", f"line {number}.") for number in range(100_000)])
    client = await site.client()
    last = (await client.get(f"/runs/{run_id}/logs")).text
    first, earlier = await parts_of_log(client, last)
    assert [numbers_of(part) for part in (first, earlier, last)] == [
        list(range(500)),
        list(range(99_000, 99_500)),
        list(range(99_500, 100_000)),
    ]
    assert len(Page(last).elements) < MOST_ELEMENTS
    found = (await client.get(f"/runs/{run_id}/logs", params={"search": "line 54321."})).text
    assert numbers_of(found) == [54_321]
    assert numbers_of((await client.get(f"/runs/{run_id}/log.txt")).text) == list(range(100_000))


def numbers_of(lines: str) -> list[int]:
    """Return the numbers of the lines that a part holds."""
    return [int(number) for number in re.findall(r"line (\d+)\.", lines)]


async def parts_of_log(client: httpx2.AsyncClient, log: str) -> list[str]:
    """Follow each of the buttons above and below the lines, in their order."""
    return [
        (await client.get(button.attributes["hx-get"].removeprefix("/ui"), params=orjson.loads(vals))).text
        for button in Page(log).all("button")
        for vals in [button.attributes["hx-vals"]]
    ]


async def test_what_is_said_while_one_reads_is_sent_alone_and_once(site: Site) -> None:
    run_id = (await site.app.enqueue("digest")).id
    await say(site, run_id, ("info", "before"))
    client = await site.client()
    [asks] = Page((await client.get(f"/runs/{run_id}/logs")).text).all("div", id="log-new")
    await say(site, run_id, ("info", "after"), ("error", "it broke"))

    new, end = await lines_after(client, asks.attributes["hx-get"], orjson.loads(asks.attributes["hx-vals"])["after"])
    assert ("before" in new, "after" in new, "it broke" in new) == (False, True, True)
    assert (await lines_after(client, asks.attributes["hx-get"], end))[0].split() == []

    await say(site, run_id, ("info", "of no interest"))
    errors, beyond = await lines_after(client, asks.attributes["hx-get"], end, level="error")
    assert errors.split() == []
    assert beyond > end, "what the filter leaves out is not looked through again"


async def test_a_page_that_missed_many_lines_gets_the_last_ones(site: Site) -> None:
    run_id = await ended(site)
    await say(site, run_id, *[("info", f"line {number}.") for number in range(600)])
    missed, _end = await lines_after(await site.client(), f"/ui/runs/{run_id}/logs/new", 0)
    assert RUN.log_gap in missed
    assert ("line 99." in missed, "line 100." in missed, "line 599." in missed) == (False, True, True)


async def lines_after(client: httpx2.AsyncClient, address: str, line: int, **filters: str) -> tuple[str, int]:
    """Return what was said after a line, and where the log ends now."""
    answer = await client.get(address.removeprefix("/ui"), params={"after": line, **filters})
    return words_of(answer.text), orjson.loads(answer.headers["HX-Trigger"])["ms:log-end"]["line"]


async def test_what_users_and_jobs_write_is_shown_as_text(site: Site) -> None:
    run_id = await ended(
        site,
        payload=orjson.dumps({HARMFUL: HARMFUL}).decode(),
        result=orjson.dumps([HARMFUL]).decode(),
        error=orjson.dumps({"type": HARMFUL, "message": HARMFUL, "trace": HARMFUL, "fingerprint": HARMFUL}).decode(),
        user_id=HARMFUL,
        job_name=HARMFUL,
        summary=HARMFUL,
    )
    await say(site, run_id, ("info", HARMFUL))
    client = await site.client()
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/logs", f"/runs/{run_id}/retry", f"/runs/{HARMFUL}"):
        assert HARMFUL not in (await client.get(path)).text, path


async def test_secrets_of_a_payload_are_not_shown(site: Site) -> None:
    run = await site.app.enqueue("digest", {"card": "4111-1111", "apiKey": "hunter2-hunter2", "to": "ann"})
    text = (await (await site.client()).get(f"/runs/{run.id}")).text
    assert "4111-1111" not in text
    assert "hunter2" not in text
    assert "ann" in text


async def test_an_unknown_run_is_a_kind_404_and_an_old_one_may_have_been_removed(site: Site) -> None:
    client = await site.client()
    unknown = await client.get("/runs/nonsense")
    assert unknown.status_code == 404
    assert Page(unknown.text).all("input", id="missing-search")
    assert "are removed" not in unknown.text
    long_ago = uuid7(int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000), 1)
    assert "more than 90 days ago" in (await client.get(f"/runs/{long_ago}")).text


async def test_a_member_does_not_see_the_run_of_another(site: Site) -> None:
    run = await site.app.enqueue("digest", {}, organization_id="acme", user_id="ben")
    client = await site.client("ann", Role.MEMBER, "acme")
    for path in ("", "/logs", "/log.txt", "/part/head", "/cancel"):
        assert (await client.get(f"/runs/{run.id}{path}")).status_code == 404
    assert (await client.post(f"/runs/{run.id}/cancel")).status_code == 404
    assert (await stored(site, run.id)).status is Status.QUEUED


async def test_older_and_newer_runs_of_the_job_are_one_key_away(site: Site) -> None:
    runs = [(await site.app.enqueue("digest", {})).id for _ in range(3)]
    page = Page((await (await site.client()).get(f"/runs/{runs[1]}")).text)
    assert page.all("a", data_shortcut="[")[0].attributes["href"] == f"/ui/runs/{runs[0]}"
    assert page.all("a", data_shortcut="]")[0].attributes["href"] == f"/ui/runs/{runs[2]}"


def after(start: datetime, seconds: int) -> datetime:
    return start + timedelta(seconds=seconds)


def test_the_timeline_shows_waiting_attempts_and_the_pause_between_them() -> None:
    start = datetime(2026, 11, 22, 9, tzinfo=UTC)
    run_id = UUID(int=1)
    run = Execution(
        run_id, "dev", "digest", "default", Status.RUNNING, 0, None, Trigger.API, start, start, attempt=2, max_retries=3
    )
    attempts = [
        Attempt(run_id, 1, 1, None, after(start, 10), after(start, 40), Outcome.FAILED, {"type": "Boom"}),
        Attempt(run_id, 2, 2, None, after(start, 60), None, None),
    ]
    drawn = timeline(run, attempts, start + timedelta(seconds=100))
    assert [(bar.label, bar.milliseconds / 1000, bar.state, bar.note) for bar in drawn.bars] == [
        ("Queued", 10, "queued", ""),
        ("Attempt 1", 30, "failed", "Boom"),
        ("Back-off", 20, "retrying", ""),
        ("Attempt 2", 40, "running", ""),
    ]
    assert all(bar.x + bar.width <= 860 for bar in drawn.bars)
    many = [Attempt(run_id, n, n, None, after(start, n), after(start, n), Outcome.LOST) for n in range(1, 90)]
    assert (timeline(run, many, start).omitted, len(timeline(run, many, start).bars) < 60) == (69, True)


def test_only_lines_of_the_applications_own_code_are_marked() -> None:
    assert [line.text.strip() for line in marked(TRACE) if line.is_own] == [
        'File "shop/jobs.py", line 3, in run',
        "client.get(host)",
    ]


def test_trees_are_bounded_and_secrets_are_left_out() -> None:
    deep: object = "end"
    for _ in range(40):
        deep = [deep]
    assert tree(deep).children is not None
    assert tree(list(range(500))).more == 300
    shown = visible({"card": 1, "deep": ["encrypted:v1:abc"], "password": "pw"}, ["card"])
    assert shown == {"card": "[hidden]", "deep": ["[redacted]"], "password": "[redacted]"}
