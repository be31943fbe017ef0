"""`/v1/jobs/{id}/events`: what is told, from where it goes on, and when it ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from mainspring.api import event_stream
from mainspring.api.job_feed import LONGEST_PAUSE, SHORTEST_PAUSE, JobFeed
from mainspring.api.open_streams import OpenStreams
from mainspring.api.v1_jobs_events import CHECK_SECONDS
from mainspring.control.access import AccessChanges
from mainspring.domain.access import Actor
from mainspring.domain.execution import Status
from mainspring.errors import DatabaseUnreachableError
from mainspring.security.revocation import FRESH_SECONDS
from mainspring.store.engine.signals import TOLD, Signals
from mainspring.world import RealWorld
from tests.api.event_reader import following
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    import httpx2

    from mainspring import Mainspring
    from tests.api.conftest import Door
    from tests.api.event_reader import EventReader, Heard

NOBODY = "01890000-0000-7000-8000-000000000001"


class Clock(RealWorld):
    """A world whose clocks a test moves on."""

    seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


@pytest.fixture
def clock(app: Mainspring) -> Clock:
    """The clock of the application."""
    clock = Clock()
    app.__dict__["world"] = clock
    return clock


@pytest.fixture
async def timed(clock: Clock, app: Mainspring, open_door: Callable[..., Any]) -> AsyncIterator[Door]:
    """The application, served by a clock that the test moves on."""
    async with open_door(app) as door:
        yield door


@pytest.fixture
def worker(door: Door) -> WorkerByHand:
    return WorkerByHand(door)


async def look(door: Door) -> None:
    """Let the feed look now, and the streams have their turn."""
    await door.api.state.job_feed.look()


async def events(stream: EventReader, count: int) -> list[Heard]:
    return [await stream.event() for _ in range(count)]


class TestWhatIsTold:
    async def test_a_job_is_told_from_its_queue_to_its_end(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand
    ) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            first = await stream.event()
            assert (first.name, first.data) == ("status", (await ada.get(f"/v1/jobs/{job_id}/status")).json())

            claimed = await worker.start(job_id)
            door.services.app.opened.signals.arrived(TOLD)
            running = await stream.event()
            assert (running.name, running.data["job"]["status"]) == ("status", "running")

            await worker.say(claimed, "half way", percent=50, page=7)
            door.services.app.opened.signals.arrived(TOLD)
            line, progress = await events(stream, 2)
            assert (line.name, line.data["message"], line.data["fields"]) == ("log", "half way", {"page": 7})
            assert (progress.name, progress.data) == (
                "progress",
                {
                    "progress": 50, "currentStep": 0, "totalSteps": None, "message": None, "itemsProcessed": 0,
                    "itemsSucceeded": 0, "itemsFailed": 0,
                },
            )  # fmt: skip

            await worker.end(claimed)
            door.services.app.opened.signals.arrived(TOLD)
            status, end = await stream.rest()
            assert (status.name, status.data) == ("status", (await ada.get(f"/v1/jobs/{job_id}/status")).json())
            assert (end.name, end.data) == ("end", {"status": "succeeded"})

    async def test_an_ended_job_is_told_at_once_with_all_its_lines(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand
    ) -> None:
        job_id = await door.create(ada)
        claimed = await worker.start(job_id)
        await worker.say(claimed, *(f"line {number}" for number in range(250)))  # more than one portion
        await worker.end(claimed, Status.FAILED)
        async with following(door, job_id, door.token()) as stream:
            *lines, status, end = await stream.rest()
        assert [line.data["message"] for line in lines] == [f"line {number}" for number in range(250)]
        assert (status.data["canRetry"], end.data) == (True, {"status": "failed"})

    async def test_without_a_signal_it_is_found_by_looking(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand
    ) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            await stream.event()
            await worker.end(await worker.start(job_id))  # as another node would, of which nobody here hears
            assert (await stream.rest())[-1].name == "end"

    async def test_a_sensitive_field_is_never_told(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada, jobType="ship", payload={"address": "4 rue du Bac"})
        async with following(door, job_id, door.token()) as stream:
            assert (await stream.event()).data["job"]["payload"] == {"address": "[hidden]"}

    async def test_one_look_serves_all_streams(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app, read, reads = door.services.app, door.services.database.read, 0

        async def counted(work: Callable[[Any], Any]) -> Any:
            nonlocal reads
            reads += 1
            return await read(work)

        jobs = [UUID(await door.create(ada)) for _ in range(3)]
        monkeypatch.setattr(door.services.database, "read", counted)
        feed = JobFeed(door.services.database, Signals(app.world), app.settings, app.world)  # nobody signals here
        with feed.watching(jobs[0]) as one, feed.watching(jobs[1]) as two, feed.watching(jobs[2]) as three:
            await feed.look()
            assert reads == 1
            assert [await watch.next_turn() for watch in (one, two, three)] == [True] * 3
            await door.services.commands.executions.cancel(Actor.application("dev"), jobs[1])
            reads = 0
            await feed.look()
            assert reads == 1
            assert [await watch.next_turn() for watch in (one, two, three)] == [False, True, False]

    async def test_a_job_that_ends_between_the_first_read_and_the_first_look_is_not_missed(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        job_id = UUID(await door.create(ada))
        app = door.services.app
        feed = JobFeed(door.services.database, Signals(app.world), app.settings, app.world)
        with feed.watching(job_id) as watch:
            await door.services.commands.executions.cancel(Actor.application("dev"), job_id)
            await feed.look()
            assert await watch.next_turn()


class TestGoingOn:
    async def test_it_goes_on_after_the_last_event_that_was_heard(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand
    ) -> None:
        job_id = await door.create(ada)
        claimed = await worker.start(job_id)
        await worker.say(claimed, "one", "two", "three", percent=30)
        async with following(door, job_id, door.token()) as stream:
            heard = await events(stream, 4)
        assert [event.name for event in heard] == ["log", "log", "log", "status"]
        for number, event in enumerate(heard, start=1):
            async with following(door, job_id, door.token(), last_event_id=event.id) as stream:
                assert await events(stream, len(heard) - number) == heard[number:]
        async with following(door, job_id, door.token(), last_event_id=heard[-1].id) as stream:
            await worker.say(claimed, "four")
            assert (await stream.event()).data["message"] == "four"

    async def test_another_node_goes_on_where_this_one_stopped(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand, open_door: Callable[..., Any]
    ) -> None:
        job_id = await door.create(ada)
        claimed = await worker.start(job_id)
        await worker.say(claimed, "one", "two")
        async with following(door, job_id, door.token()) as stream:
            heard = await events(stream, 3)
        async with (
            open_door(door.app) as other,
            following(other, job_id, door.token(), last_event_id=heard[-1].id) as stream,
        ):
            await worker.say(claimed, "three")
            await worker.end(claimed)
            assert [event.name for event in await stream.rest()] == ["log", "status", "end"]

    async def test_ids_only_grow(self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            heard = [await stream.event()]
            claimed = await worker.start(job_id)
            await worker.say(claimed, "one", "two", percent=10)
            await worker.end(claimed)
            await look(door)
            heard += await stream.rest()
        places = [tuple(int(part) for part in str(event.id).removesuffix("-end").split("-")) for event in heard]
        assert places == sorted(places)
        assert len({event.id for event in heard}) == len(heard)

    async def test_who_has_heard_the_end_is_told_not_to_come_back(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand
    ) -> None:
        job_id = await door.create(ada, maxRetries=1)
        await worker.end(await worker.start(job_id), Status.FAILED)
        async with following(door, job_id, door.token()) as stream:
            end = (await stream.rest())[-1]
        async with following(door, job_id, door.token(), last_event_id=end.id) as stream:
            assert (stream.status, await stream.body()) == (204, b"")
        assert (await ada.post(f"/v1/jobs/{job_id}/retry")).status_code == 200
        async with following(door, job_id, door.token(), last_event_id=end.id) as stream:
            assert (await stream.event()).data["job"]["status"] == "queued"

    @pytest.mark.parametrize("place", ["", "x", "7", "-1-2", "1-2-3", "9" * 40 + "-1"])
    async def test_an_id_that_is_none_of_ours_begins_anew(
        self, door: Door, ada: httpx2.AsyncClient, place: str
    ) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token(), last_event_id=place) as stream:
            assert (await stream.event()).name == "status"


class TestWhoMay:
    @pytest.mark.parametrize(("user", "organization"), [("bob", "acme"), ("mallory", "globex")])
    async def test_a_job_of_somebody_else_is_not_there(
        self, door: Door, ada: httpx2.AsyncClient, user: str, organization: str
    ) -> None:
        job_id = await door.create(ada)
        bodies: list[bytes] = []
        for name in (job_id, NOBODY):
            async with following(door, name, door.token(user, organization=organization)) as stream:
                assert stream.status == 404
                bodies.append(await stream.body())
        assert bodies[0] == bodies[1]

    async def test_a_token_in_the_address_is_no_credential(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        stranger = await door.client()
        assert (await stranger.get(f"/v1/jobs/{job_id}/events?access_token={door.token()}")).status_code == 401

    async def test_one_principal_holds_so_many_and_no_more(self, door: Door, ada: httpx2.AsyncClient) -> None:
        door.api.state.open_streams = OpenStreams(most=1)
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()):
            async with following(door, job_id, door.token()) as second:
                assert (second.status, second.headers["retry-after"]) == (429, "10")
                assert b"TOO_MANY_STREAMS" in await second.body()
            bob = await door.client(door.token("bob"))
            async with following(door, await door.create(bob), door.token("bob")) as other:
                assert other.status == 200
        async with following(door, job_id, door.token()) as again:
            assert again.status == 200

    async def test_a_stream_that_was_left_is_counted_no_more(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            await stream.event()
            assert len(door.api.state.open_streams) == 1
        async with following(door, NOBODY, door.token()) as stream:
            assert stream.status == 404
        assert len(door.api.state.open_streams) == 0


class TestTheEndOfACredential:
    async def test_a_token_that_expires_closes_the_stream(self, timed: Door, clock: Clock) -> None:
        ada = await timed.client(timed.token())
        job_id = await timed.create(ada)
        async with following(timed, job_id, timed.token()) as stream:
            await stream.event()
            clock.seconds += timedelta(hours=1, minutes=5).total_seconds()
            await look(timed)
            assert [(event.name, event.data["code"]) for event in await stream.rest()] == [("close", "TOKEN_EXPIRED")]

    async def test_a_revocation_closes_it_within_ten_seconds(self, timed: Door, clock: Clock) -> None:
        ada = await timed.client(timed.token())
        job_id = await timed.create(ada)
        async with following(timed, job_id, timed.token()) as stream:
            await stream.event()
            changes = AccessChanges(timed.services.database, timed.services.audit)  # elsewhere: nobody here is told
            await changes.revoke_tokens_of(Actor.at_terminal("dev", "root"), "ada")
            clock.seconds += FRESH_SECONDS + CHECK_SECONDS
            await look(timed)
            assert [(event.name, event.data["code"]) for event in await stream.rest()] == [("close", "TOKEN_REVOKED")]
        assert FRESH_SECONDS + CHECK_SECONDS + 1.25 * LONGEST_PAUSE + SHORTEST_PAUSE < 10


class TestQuietAndSlowAndStopping:
    async def test_a_quiet_stream_says_now_and_then_that_it_is_there(self, timed: Door, clock: Clock) -> None:
        ada = await timed.client(timed.token())
        job_id = await timed.create(ada)
        async with following(timed, job_id, timed.token()) as stream:
            await stream.event()
            clock.seconds += 15
            await look(timed)
            heard = await stream.hear()
            assert heard is not None
            assert heard.comment is not None

    async def test_for_who_does_not_read_nothing_is_fetched(
        self, door: Door, ada: httpx2.AsyncClient, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = await door.create(ada)
        claimed = await worker.start(job_id)
        await worker.say(claimed, *(f"line {number}" for number in range(1_000)))
        fetched = 0
        lines_of = event_stream.Event.encode

        def counted(event: event_stream.Event) -> bytes:
            nonlocal fetched
            fetched += 1
            return lines_of(event)

        monkeypatch.setattr(event_stream.Event, "encode", counted)
        async with following(door, job_id, door.token()) as stream:
            await stream.event()
            for _ in range(20):
                await look(door)
            assert fetched <= 4  # one was read, one waits in the queue of the test, one is on its way

    async def test_who_does_not_read_at_all_is_cut_off(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_stream, "SLOWEST_READER", timedelta(milliseconds=1))
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            await asyncio.wait({stream.answer}, timeout=20)
            assert stream.answer.done()
            assert stream.answer.exception() is None
        assert len(door.api.state.open_streams) == 0

    async def test_a_node_that_stops_says_when_to_come_back(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        async with following(door, job_id, door.token()) as stream:
            await stream.event()
            door.api.state.draining = True
            await look(door)
            heard = await stream.hear()
            assert heard is not None
            assert 1_000 <= (heard.retry or 0) <= 3_000
            assert await stream.hear() is None
        async with following(door, job_id, door.token()) as stream:
            assert (stream.status, stream.headers["retry-after"]) == (503, "5")

    async def test_a_store_that_does_not_answer_is_asked_again_later(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = await door.create(ada)

        async def fail(_work: object) -> None:
            raise DatabaseUnreachableError("it is away")

        async with following(door, job_id, door.token()) as stream:
            await stream.event()
            read = door.services.database.read
            monkeypatch.setattr(door.services.database, "read", fail)
            await look(door)
            monkeypatch.setattr(door.services.database, "read", read)
            assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
            assert (await stream.rest())[-1].data == {"status": "cancelled"}
