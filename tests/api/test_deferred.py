"""What is loaded with the first request for it, and what the rest of the process does meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest

from mainspring.api.deferred import Deferred
from mainspring.runtime import interpreter
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tests.api.conftest import Door


class Loading:
    """An application that is loaded when the test says so."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.may_end = threading.Event()
        self.threads: list[int] = []
        self.collecting: list[bool] = []
        self.trouble: Exception | None = None
        self.served: list[Scope] = []

    def __call__(self) -> ASGIApp:
        self.threads.append(threading.get_ident())
        self.collecting.append(gc.isenabled())
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.may_end.wait(10)
        if self.trouble is not None:
            raise self.trouble
        return self.serve

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.served.append(scope)


async def receive() -> Message:
    raise AssertionError("nobody reads the body")


async def send(message: Message) -> None:
    raise AssertionError(message)


async def test_it_is_loaded_once_on_a_thread_while_the_event_loop_goes_on() -> None:
    loading = Loading()
    world = RealWorld()
    deferred = Deferred(loading, world, name="doors")
    requests = [
        world.spawn(deferred({"type": "http", "number": number}, receive, send), name="request") for number in range(3)
    ]
    await loading.begun.wait()  # the loop turns, although what is loaded waits for this test
    assert not any(request.done() for request in requests)
    loading.may_end.set()
    await asyncio.gather(*requests)
    await deferred({"type": "http", "number": 3}, receive, send)

    assert len(loading.threads) == 1
    assert loading.threads[0] != threading.get_ident()
    assert loading.collecting == [False]
    assert gc.isenabled()
    assert [scope["number"] for scope in loading.served] == [0, 1, 2, 3]


async def test_the_collector_leaves_alone_what_was_loaded() -> None:
    loading = Loading()
    loading.may_end.set()
    interpreter.leave_alone_once.cache_clear()
    gc.unfreeze()
    try:
        await Deferred(loading, RealWorld(), name="doors").load()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


async def test_what_could_not_be_loaded_is_tried_again() -> None:
    loading = Loading()
    loading.may_end.set()
    loading.trouble = ImportError("no such door")
    deferred = Deferred(loading, RealWorld(), name="doors")
    with pytest.raises(ImportError, match="no such door"):
        await deferred({"type": "http"}, receive, send)
    loading.trouble = None
    await deferred({"type": "http"}, receive, send)

    assert len(loading.threads) == 2
    assert len(loading.served) == 1


async def test_a_node_is_not_ready_for_requests_before_its_doors_are_loaded(door: Door) -> None:
    loading, world = Loading(), RealWorld()
    door.api.state.doors = Deferred(loading, world, name="doors")
    asked = world.spawn((await door.client()).get("/readyz"), name="probe")
    async with asyncio.timeout(10):
        await loading.begun.wait()
    assert not asked.done()
    loading.may_end.set()

    assert (await asked).json()["status"] == "ready"
