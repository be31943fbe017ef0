"""The child's end of the pipes to its node: where the context of a handler puts what the handler says."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.domain.write_door import MAX_VALUE_BYTES, verbatim_json
from mainspring.errors import LeaseLostError, PayloadTooLargeError
from mainspring.runtime import child_protocol as protocol
from mainspring.runtime.child_protocol import RemoteFailureError, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.jobs.context import JobContext, LogLine
    from mainspring.world import World

REPORT_SECONDS: Final = 0.1


class NodeLink:
    """Speaks with the node, from whatever thread.

    A log line is written before `log` returns, so that a job which then kills its process has left it. Progress and
    beats are sent at most ten times a second, on a thread of their own: the event loop may be blocked by the handler.

    Args:
        world: Where threads come from.
        commands: The file descriptor to read from.
        answers: The file descriptor to write to.

    Attributes:
        stop: What to do when the node cancels the attempt; until there is a handler to stop, the process just ends.
    """

    def __init__(self, world: World, commands: int, answers: int) -> None:
        self.stop: Callable[[], None] = lambda: os._exit(0)
        self._world = world
        self._commands = os.fdopen(commands, "rb")
        self._answers = os.fdopen(answers, "wb")
        self._writing = threading.Lock()
        self._news = threading.Event()
        self._closed = threading.Event()
        self._context: JobContext[Any] | None = None
        self._beaten = False
        self._numbers = itertools.count(1)
        self._unsaved: dict[int, asyncio.Future[None]] = {}

    def read_start(self) -> dict[str, Any]:
        """Wait for the start message, and begin to listen for others."""
        _, message = protocol.decode(self._commands.readline())
        self._world.start_thread(self._listen, name="mainspring-commands")
        self._world.start_thread(self._report, name="mainspring-report")
        return message

    def send(self, message: bytes) -> None:
        """Write a message."""
        with self._writing:
            self._answers.write(message)
            self._answers.flush()

    def close(self) -> None:
        """Report nothing more."""
        self._closed.set()
        self._news.set()

    def log(self, context: JobContext[Any], line: LogLine) -> None:  # noqa: ARG002 - the node knows whose child it is
        """Write a log line."""
        self.send(protocol.encode_log(line))

    def progressed(self, context: JobContext[Any]) -> None:
        """Report the progress soon."""
        self._context = context
        self._news.set()

    def beat(self, context: JobContext[Any]) -> None:  # noqa: ARG002 - as in log
        """Report a sign of life soon."""
        self._beaten = True
        self._news.set()

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        """Have the node store a checkpoint, and return when it has."""
        text = verbatim_json(value)
        if (size := len(text.encode())) > MAX_VALUE_BYTES:
            msg = (
                f"a checkpoint of job {context.job_name!r} has {size:,} bytes as JSON, and at most {MAX_VALUE_BYTES:,} "
                "are taken: store the data elsewhere and keep a reference to it"
            )
            raise PayloadTooLargeError(msg)
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        self._unsaved[number] = saved
        try:
            self.send(protocol.encode(Word.CHECKPOINT, number=number, value=orjson.loads(text)))
            await saved
        finally:
            del self._unsaved[number]

    def _listen(self) -> None:
        for line in self._commands:
            word, message = protocol.decode(line)
            if word is Word.CANCEL:
                self.stop()
            elif saved := self._unsaved.get(message["number"]):
                saved.get_loop().call_soon_threadsafe(_settle, saved, word, message)
        # The node is gone. On Linux the kernel has killed the group before this line is reached.
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def _report(self) -> None:
        while not self._closed.is_set():
            self._news.wait()
            self._news.clear()
            if self._beaten:
                self._beaten = False
                self.send(protocol.encode(Word.BEAT))
            context, self._context = self._context, None
            if context is not None:
                self.send(protocol.encode(Word.PROGRESS, reported=context.reported))
            self._closed.wait(REPORT_SECONDS)


def _settle(saved: asyncio.Future[None], word: Word, message: dict[str, Any]) -> None:
    if saved.done():
        return
    if word is Word.SAVED:
        saved.set_result(None)
        return
    failure = protocol.read_failure(message)
    lost = failure.code == LeaseLostError.code
    saved.set_exception(LeaseLostError(failure.message) if lost else RemoteFailureError(failure))
