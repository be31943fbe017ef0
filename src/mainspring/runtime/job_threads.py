"""The threads that run handlers which are not asynchronous; one that never returns is left behind and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.world import World

    Outcome = tuple[object, BaseException | None]


class _Stage(Enum):
    WAITING = auto()
    RUNNING = auto()
    ENDED = auto()
    WITHDRAWN = auto()
    LEFT_BEHIND = auto()


class ThreadCall:
    """One call on a thread.

    Attributes:
        function: What to call.
        outcome: Its value and its exception, one of which is None; set when the call has ended.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._stage = _Stage.WAITING
        self._lock = threading.Lock()

    def move(self, *, from_stage: _Stage, to: _Stage) -> bool:
        """Go on to a stage, unless the other side has taken the call elsewhere in the meantime."""
        with self._lock:
            if self._stage is not from_stage:
                return False
            self._stage = to
            return True


class JobThreads:
    """A pool of daemon threads.

    The pool of the standard library cannot replace a thread that never returns, and waits for it when the interpreter
    ends: one stuck handler would keep the whole process from stopping.

    Args:
        world: Where threads come from.
        size: How many calls run at once, at least 1; threads are started as they are needed.
    """

    def __init__(self, world: World, size: int) -> None:
        self._world = world
        self._size = size
        self._calls: queue.SimpleQueue[ThreadCall | None] = queue.SimpleQueue()
        self._serving = 0
        self._unfinished = 0
        self._left_behind = 0

    @property
    def left_behind(self) -> int:
        """How many threads were given up and still run."""
        return self._left_behind

    def submit(self, function: Callable[[], object]) -> ThreadCall:
        """Queue a call of `function`; the caller awaits its `outcome`."""
        call = ThreadCall(function)
        self._unfinished += 1
        self._calls.put(call)
        self._start_missing_thread()
        return call

    def withdraw(self, call: ThreadCall) -> bool:
        """Take back a call, and say whether that was still possible: whether it had not begun."""
        if not call.move(from_stage=_Stage.WAITING, to=_Stage.WITHDRAWN):
            return False
        self._unfinished -= 1
        return True

    def leave_behind(self, call: ThreadCall) -> bool:
        """Give up a call that runs, replace its thread, and say whether it was still running."""
        if not call.move(from_stage=_Stage.RUNNING, to=_Stage.LEFT_BEHIND):
            return False
        self._unfinished -= 1
        self._serving -= 1
        self._left_behind += 1
        self._start_missing_thread()
        return True

    def close(self) -> None:
        """Let every thread end once its call has."""
        for _ in range(self._serving):
            self._calls.put(None)

    def _start_missing_thread(self) -> None:
        if self._serving < min(self._unfinished, self._size):
            self._serving += 1
            loop = asyncio.get_running_loop()
            self._world.start_thread(lambda: self._serve(loop), name="mainspring-job")

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._calls.get()) is not None:
            if not call.move(from_stage=_Stage.WAITING, to=_Stage.RUNNING):
                continue
            outcome = _outcome_of(call.function)
            wanted = call.move(from_stage=_Stage.RUNNING, to=_Stage.ENDED)
            with contextlib.suppress(RuntimeError):  # the loop was closed while the handler ran: nobody waits any more
                loop.call_soon_threadsafe(self._finish if wanted else self._return_late, call, outcome)
            if not wanted:
                return
            del call, outcome  # an idle thread must not keep the last handler's objects alive

    def _finish(self, call: ThreadCall, outcome: Outcome) -> None:
        self._unfinished -= 1
        call.outcome.set_result(outcome)

    def _return_late(self, _call: ThreadCall, _outcome: Outcome) -> None:
        self._left_behind -= 1


def _outcome_of(function: Callable[[], object]) -> Outcome:
    # No method of the call: the traceback holds this frame, and the call holds the exception. In a circle, they would
    # keep what a failed handler held until a garbage collection.
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises belongs to whoever awaits the call
        return None, error
