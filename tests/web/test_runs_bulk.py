"""Many runs at once: chosen ones in the request, all that a filter finds as an action that anybody can follow."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from mainspring import testing
from mainspring.builtin.bulk_action import Course
from mainspring.control.bulk_actions import BULK_ACTION, BulkActions, BulkRequest
from mainspring.domain.access import Actor, ActorKind, Permission, Role, Scope
from mainspring.domain.execution import Status
from mainspring.errors import PermissionDeniedError
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.store.identity import users
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from tests.web.conftest import Page, mounted, words_of
from tests.web.runs import ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx2

    from mainspring import Mainspring
    from mainspring.domain.execution import Execution
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Connection
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}


@dataclass
class Desk:
    """A dashboard whose worker works when the test says so."""

    site: Site
    kit: testing.Kit

    async def stored(self, **wanted: Any) -> list[Execution]:
        """Return executions."""
        return await self.site.services.opened.database.read(
            lambda connection: executions.find(connection, Scope("dev"), Filter(**wanted), most=1000)
        )

    async def entries(self, action: str) -> list[AuditEntry]:
        """Return what the audit says of an action."""
        wanted = WantedEntries(action=action)
        return await self.site.services.opened.database.read(
            lambda connection: audit_pages.page(connection, Scope("dev"), wanted, most=1000)
        )

    async def begin(self, client: httpx2.AsyncClient, verb: str, query: str, **said: str) -> None:
        """Ask for an action on all that match, and confirm it."""
        asked = await client.get(f"/runs/bulk/{verb}", params={"q": query}, headers=HTMX)
        done = await client.post(f"/runs/bulk/{verb}", data=form_of(asked.text) | said, headers=HTMX)
        assert done.status_code == 204, done.text

    async def carry_out(self) -> Execution:
        """Let the worker take what is most urgent, and return how it ended."""
        ended = await self.kit.run_next()
        assert ended is not None
        assert ended.job_name == BULK_ACTION
        return ended


def form_of(html: str) -> dict[str, str]:
    """Return what a dialog sends."""
    return {field.attributes["name"]: field.attributes.get("value", "") for field in Page(html).all("input")}


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with two jobs."""

    @app.job("digest")
    async def digest() -> None:
        """Do nothing."""

    @app.job("mailing", on_demand=True)
    async def mailing() -> None:
        """Do nothing."""

    return app


@pytest.fixture
async def desk(app: Mainspring) -> AsyncIterator[Desk]:
    """The dashboard, with a worker that works when the test says so."""
    async with AsyncExitStack() as stack:
        kit = await stack.enter_async_context(testing.kit(app, database_url=app.settings.database_url))
        yield Desk(mounted(app, stack), kit)


async def test_all_that_match_are_cancelled_and_later_ones_are_not(desk: Desk) -> None:
    app = desk.site.app
    await app.enqueue_many("digest", [None] * 250)
    other = await app.enqueue("mailing")
    client = await desk.site.client()
    dialog = await client.get("/runs/bulk/cancel", params={"q": "job:digest"}, headers=HTMX)
    assert Page(dialog.text).text("h2") == "Cancel 250 runs"
    later = await app.enqueue("digest")
    await client.post("/runs/bulk/cancel", data=form_of(dialog.text) | {"reason": "wrong list"}, headers=HTMX)
    action = await desk.carry_out()
    assert (action.status, action.summary) == (Status.SUCCEEDED, "250 cancelled")
    assert action.progress.items_succeeded == 250
    assert {run.id for run in await desk.stored(status=Status.QUEUED)} == {other.id, later.id}
    each = await desk.entries("execution.cancel")
    assert {(entry.actor, entry.reason, entry.request_id) for entry in each} == {("ada", "wrong list", str(action.id))}
    assert len(each) == 250
    assert [len(await desk.entries(name)) for name in ("bulk_cancel.begin", "bulk_cancel.end")] == [1, 1]


async def test_an_action_is_seen_on_the_list_while_it_waits_and_when_it_has_ended(desk: Desk) -> None:
    await desk.site.app.enqueue("digest")
    client = await desk.site.client()
    await desk.begin(client, "cancel", "job:digest")
    said = words_of((await client.get("/runs/actions")).text)
    assert "Cancel all of job:digest status:queued,retrying,running waits for a worker" in said
    assert "Stop…" in said
    action = await desk.carry_out()
    said = words_of((await client.get("/runs/actions")).text)
    assert "1 cancelled" in said
    assert "Stop…" not in said
    desk.kit.clock.advance(timedelta(minutes=11))
    assert "1 cancelled" not in words_of((await client.get("/runs/actions")).text)
    assert "1 cancelled" in (await client.get("/runs", params={"q": f"id:{action.id}"})).text


async def test_failed_runs_are_retried_and_those_that_cannot_be_are_told_with_the_reason(desk: Desk) -> None:
    again = [await ended(desk.site, "failed", max_retries=3) for _ in range(3)]
    used_up = await ended(desk.site, "failed", max_retries=0)
    twins = [await ended(desk.site, "failed", max_retries=3, unique_key="one") for _ in range(2)]
    client = await desk.site.client()
    await desk.begin(client, "retry", "job:digest")
    action = await desk.carry_out()
    assert action.summary == "4 queued again; 2 could not be"
    assert action.result["details"]["refused"] == {
        "it has no retries left": [str(used_up)],
        "another execution with its unique key has not ended": [str(twins[1])],
    }
    queued = await desk.stored(status=Status.QUEUED)
    assert {run.id: run.retry_count for run in queued} == dict.fromkeys([*again, twins[0]], 1)


async def test_an_action_that_is_stopped_leaves_the_rest_as_it_is(desk: Desk) -> None:
    await desk.site.app.enqueue("digest")
    client = await desk.site.client()
    await desk.begin(client, "cancel", "job:digest")
    [action] = await desk.stored(job_name=BULK_ACTION)
    assert (await client.post(f"/runs/{action.id}/cancel", headers=HTMX)).status_code == 204
    assert [run.status for run in await desk.stored(job_name="digest")] == [Status.QUEUED]
    assert [run.status for run in await desk.stored(job_name=BULK_ACTION)] == [Status.CANCELLED]


async def test_who_may_no_longer_act_changes_nothing_more(desk: Desk) -> None:
    await desk.site.app.enqueue("digest")
    client = await desk.site.client()
    await desk.begin(client, "cancel", "job:digest")

    def demote(connection: Connection) -> None:
        found = users.get(connection, Scope("dev"), "ada")
        assert found is not None
        users.set_role(connection, found.id, Role.VIEWER)

    await desk.site.services.opened.database.tx(demote)
    action = await desk.carry_out()
    assert action.status is Status.FAILED
    assert "jobs.cancel_jobs is missing" in str(action.error_message)
    assert [run.status for run in await desk.stored(job_name="digest")] == [Status.QUEUED]
    assert [entry.allowed for entry in await desk.entries("execution.cancel")] == [False]


async def test_an_action_goes_on_after_a_crash_with_the_hundred_that_it_was_at(desk: Desk) -> None:
    await desk.site.app.enqueue_many("digest", [None] * 250, delay=timedelta(days=1))
    client = await desk.site.client()
    await desk.begin(client, "cancel", "job:digest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Course, "as_json", _crash_at_the_second_hundred())
        crashed = await desk.carry_out()
    assert crashed.status is Status.RETRYING
    await desk.kit.advance(timedelta(minutes=1))
    [action] = await desk.stored(job_name=BULK_ACTION)
    assert action.status is Status.SUCCEEDED
    assert await desk.stored(job_name="digest", status=Status.QUEUED) == []
    assert len(await desk.entries("execution.cancel")) == 250


def _crash_at_the_second_hundred() -> Callable[[Course], dict[str, Any]]:
    whole, seen = Course.as_json, list[int]()

    def crash(course: Course) -> dict[str, Any]:
        seen.append(course.done)
        if len(seen) == 2:
            raise ConnectionResetError
        return whole(course)

    return crash


async def test_a_member_changes_its_own_runs_alone(desk: Desk) -> None:
    foreign = await desk.site.app.enqueue("mailing", organization_id="acme", user_id="ben")
    own = await desk.site.app.enqueue("mailing", organization_id="acme", user_id="ann")
    client = await desk.site.client("ann", Role.MEMBER, "acme")
    await desk.begin(client, "cancel", "")
    action = await desk.carry_out()
    assert (action.organization_id, action.summary) == ("acme", "1 cancelled")
    statuses = {run.id: run.status for run in await desk.stored(job_name="mailing")}
    assert statuses == {foreign.id: Status.QUEUED, own.id: Status.CANCELLED}


async def test_chosen_runs_are_changed_at_once_and_what_is_refused_is_said(desk: Desk) -> None:
    wanted = await desk.site.app.enqueue("digest")
    over = await ended(desk.site)
    client = await desk.site.client()
    picked = {"pick": [str(wanted.id), str(over)]}
    dialog = await client.get("/runs/bulk/cancel", params=picked, headers=HTMX)
    answer = await client.post("/runs/bulk/cancel/chosen", data=form_of(dialog.text), headers=HTMX)
    assert "1 cancelled; 1 could not be: it has ended: succeeded" in answer.headers["HX-Trigger"]
    nothing = Page((await client.get("/runs/bulk/retry")).text)
    assert "no run is chosen" in nothing.everything


async def test_no_program_and_no_viewer_begins_an_action(desk: Desk) -> None:
    services = desk.site.services
    bulk = BulkActions(services.opened.database, services.audit, services.opened.signals, services.commands.executions)
    request = BulkRequest(verb="cancel", filter="", as_of=services.app.world.now(), up_to=UUID(int=1), matched=1)
    for kind, permissions in ((ActorKind.KEY, {Permission.CANCEL_JOBS}), (ActorKind.USER, set[Permission]())):
        actor = Actor("someone", kind, "dev", permissions=frozenset(permissions))
        with pytest.raises(PermissionDeniedError):
            await bulk.begin(actor, request)
    assert await desk.stored(job_name=BULK_ACTION) == []
    assert [entry.allowed for entry in await desk.entries("bulk_cancel.begin")] == [False, False]
