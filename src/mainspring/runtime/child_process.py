"""Carries out an attempt in a child process of its own, which can be limited, and killed with all it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any, Final

from mainspring.domain.failure import failure_of
from mainspring.errors import JobCrashedError, SkipExecution, TransientError
from mainspring.jobs.context import LogLine
from mainspring.runtime import child_protocol as protocol
from mainspring.runtime.child_output import LineReader, PrintedText
from mainspring.runtime.child_protocol import RemoteFailureError, Word
from mainspring.runtime.fork_server import ForkServer, StartedChild
from mainspring.world import ends_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.domain.job import JobDefinition
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.early_fork import ForkedServer
    from mainspring.world import World

_DRAIN_SECONDS: Final = 1.0
_PRINTED_LINE_BYTES: Final = 8_000
_CHILD: Final = "mainspring.runtime.child_main"


class ChildProcessExecutor:
    """Starts a process for each attempt, in a session of its own.

    The child is a fork of a process that has imported the application, or, where there is none, a new interpreter
    that imports it. It finds the job in the registry and calls the handler. Nothing it has started outlives
    the attempt, unless it left the process group on purpose; and the child ends with its node, even when that is
    killed.

    Processes start a few at a time: a node that has died may leave hundreds that are to run in one of their own, and
    importing the application in all of them at once would take its successors' time, and them with it. How many run is
    not limited here: an attempt that waits for another must not keep that one from starting.

    Args:
        world: Where tasks and timers come from.
        app: Where the child finds the application, `package.module:attribute`; the attribute has a `registry`.
        starts: How many children start at once, at least 1; None: one for each core.
        grace: Seconds that a handler gets to end after a cancellation, and a process after its answer, before the
            group is killed. The default stays within the 10 seconds that a cancellation may take (contract §7).
        forked: The process that forks children, where the node has forked it off itself.
    """

    def __init__(
        self,
        world: World,
        app: str,
        *,
        starts: int | None = None,
        grace: float = 8.0,
        forked: ForkedServer | None = None,
    ) -> None:
        self._world = world
        self._app = app
        self._fork_server = ForkServer(world, app, forked)
        self._starts = asyncio.Semaphore(starts or os.cpu_count() or 1)
        self._grace = grace

    async def execute(
        self, job: RegisteredJob, context: JobContext[Any], before_start: Callable[[], Awaitable[None]] | None = None
    ) -> object:
        """Carry out one attempt; what the handler raises comes back as a `RemoteFailureError`.

        Args:
            job: What to carry out.
            context: The handler's view of the attempt.
            before_start: Awaited when its turn has come to have a process.
        """
        child = _Child(self._world, job.definition, context)
        async with self._starts:
            if before_start is not None:
                await before_start()
            try:
                await child.start(self._app, self._fork_server)
            except OSError as error:
                msg = f"job {job.definition.name!r}: its process could not be started: {error}"
                raise TransientError(msg) from error
            await self._wait(child, child.begun_or_over())
        await self._wait(child, child.answered_or_ended())
        await child.end(self._grace)
        return child.result()

    async def close(self) -> None:
        """Start no more children."""
        await self._fork_server.close()

    async def _wait(self, child: _Child, what: Awaitable[None]) -> None:
        """Wait for what a child does, and end it if the attempt is cancelled meanwhile."""
        try:
            await what
        except asyncio.CancelledError:
            child.tell_to_stop()
            await child.end(self._grace)
            raise


class _Child:
    """One child process, from its start to the end of everything it has started."""

    _pid: int
    _ended: asyncio.Future[int]
    _commands: asyncio.WriteTransport

    def __init__(self, world: World, definition: JobDefinition, context: JobContext[Any]) -> None:
        self._world = world
        self._definition = definition
        self._context = context
        self._ours = ExitStack()
        self._readers: list[LineReader] = []
        self._printed: list[PrintedText] = []
        self._saving: set[asyncio.Task[None]] = set()
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answered: asyncio.Future[tuple[Word, dict[str, Any]]] = asyncio.get_running_loop().create_future()

    async def start(self, app: str, fork_server: ForkServer) -> None:
        """Start the process and tell it what to do."""
        with ExitStack() as started, ExitStack() as theirs:
            started.push(self._ours)
            commands, ours = _pipe(reader=theirs, writer=self._ours)
            lifeline, _ = _pipe(reader=theirs, writer=self._ours)
            answers = await self._listen(self._take, limit=protocol.MAX_MESSAGE_BYTES, theirs=theirs)
            output = await self._listen(self._printer("stdout"), limit=_PRINTED_LINE_BYTES, theirs=theirs)
            errors = await self._listen(self._printer("stderr"), limit=_PRINTED_LINE_BYTES, theirs=theirs)
            self._commands, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, ours)
            self._ours.callback(self._drop_commands)
            pipes = [end.fileno() for end in (commands, answers, lifeline, output, errors)]
            child = await fork_server.fork(pipes) or await self._start_interpreter(*pipes)
            self._pid, self._ended = child.pid, child.ended
            started.pop_all()
        self._commands.write(protocol.encode_start(app, sys.path, self._context))

    async def _start_interpreter(
        self, commands: int, answers: int, lifeline: int, output: int, errors: int
    ) -> StartedChild:
        inherited = (commands, answers, lifeline)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "faulthandler", "-m", _CHILD, *map(str, inherited)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=inherited,
            start_new_session=True,
        )
        ended = self._world.spawn(process.wait(), name=f"child of {self._definition.name}")
        return StartedChild(process.pid, ended)

    async def begun_or_over(self) -> None:
        """Wait until the handler has begun, or will not begin any more."""
        begun, answered, ended = self._begun, self._answered, self._ended
        await asyncio.wait({begun, answered, ended}, return_when=asyncio.FIRST_COMPLETED)

    async def answered_or_ended(self) -> None:
        """Wait until the child has answered, or is gone."""
        await asyncio.wait({self._answered, self._ended}, return_when=asyncio.FIRST_COMPLETED)

    def tell_to_stop(self) -> None:
        """Cancel the handler, and ask what it has started to end."""
        self._commands.write(protocol.encode(Word.CANCEL))
        self._signal(signal.SIGTERM)  # the child itself ignores it: it goes by the message

    async def end(self, grace: float) -> None:
        """Wait `grace` seconds for the process, kill what is left of its group, and take its last words."""
        try:
            try:
                if not await ends_within(self._world, self._ended, grace):
                    self._log(f"the process had not ended after {grace:g} s and was killed", level="warning")
            finally:
                self._signal(signal.SIGKILL)
                await self._take_last_words()
        finally:
            for task in self._saving:
                task.cancel()
            self._ours.close()

    def result(self) -> object:
        """Return what the handler returned, or raise what became of it."""
        if not self._answered.done():
            raise JobCrashedError(self._said(how_it_ended(self._ended.result(), self._definition)))
        word, message = self._answered.result()
        match word:
            case Word.RESULT:
                return protocol.read_result(message)
            case Word.SKIPPED:
                raise SkipExecution(message["reason"])
            case Word.CRASHED:
                raise JobCrashedError(self._said(message["reason"]))
            case _:
                raise RemoteFailureError(protocol.read_failure(message), message.get("event"))

    async def _listen(self, take: Callable[[bytes], None], *, limit: int, theirs: ExitStack) -> IO[bytes]:
        ours, their_end = _pipe(reader=self._ours, writer=theirs)
        reader = LineReader(take, limit=limit)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: reader, ours)
        self._ours.callback(transport.close)
        self._readers.append(reader)
        return their_end

    def _printer(self, stream: str) -> Callable[[bytes], None]:
        printed = PrintedText(lambda text: self._log(text, stream=stream))
        self._printed.append(printed)
        return printed.take

    def _take(self, line: bytes) -> None:
        try:
            self._heed(*protocol.decode(line))
        except (ValueError, KeyError, TypeError):
            reason = f"something in the job wrote to the pipe on which the runtime speaks: {line[:80]!r}"
            self._answer(Word.CRASHED, {"reason": reason})
            self._signal(signal.SIGKILL)

    def _heed(self, word: Word, message: dict[str, Any]) -> None:
        context = self._context
        if "reported" in message:
            context.reported = protocol.read_progress(message["reported"])
        match word:
            case Word.BEGUN:
                if not self._begun.done():
                    self._begun.set_result(None)
            case Word.LOG:
                context.sink.log(context, protocol.read_log(message))
            case Word.PROGRESS:
                context.sink.progressed(context)
            case Word.BEAT:
                context.sink.beat(context)
            case Word.CHECKPOINT:
                task = self._world.spawn(self._save(message["number"], message["value"]), name="checkpoint")
                self._saving.add(task)
                task.add_done_callback(self._saving.discard)
            case _:
                self._answer(word, message)

    def _answer(self, word: Word, message: dict[str, Any]) -> None:
        if not self._answered.done():
            self._answered.set_result((word, message))

    async def _save(self, number: int, value: object) -> None:
        try:
            await self._context.sink.save_checkpoint(self._context, value)
        except Exception as error:  # noqa: BLE001 - it belongs to the handler, which waits on the other side
            self._commands.write(protocol.encode(Word.REFUSED, number=number, failure=failure_of(error)))
        else:
            self._commands.write(protocol.encode(Word.SAVED, number=number))

    async def _take_last_words(self) -> None:
        await self._ended
        # A process that left the group may hold a pipe open for ever, so that its end is not waited for.
        await ends_within(self._world, asyncio.gather(*(reader.closed for reader in self._readers)), _DRAIN_SECONDS)
        for printed in self._printed:
            printed.end()

    def _drop_commands(self) -> None:
        if not self._commands.is_closing():  # it closes by itself when the child goes first
            self._commands.abort()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody is left (macOS says it in the second way)
            os.killpg(self._pid, number)

    def _log(self, message: str, *, level: str = "info", **fields: object) -> None:
        self._context.sink.log(self._context, LogLine(level, message, fields))

    def _said(self, reason: str) -> str:
        return f"job {self._definition.name!r}, execution {self._context.execution_id}: {reason}"


def how_it_ended(exit_code: int, definition: JobDefinition) -> str:
    """Return in words why a child ended without an answer.

    Args:
        exit_code: Its exit code, or the number of a signal with a minus.
        definition: The limits that it had.

    Example:
        >>> how_it_ended(-11, JobDefinition("resize"))
        'its process was killed by SIGSEGV: native code crashed; the last lines of its log show where'
    """
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code} and without an answer, as os._exit does"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    killed = f"its process was killed by {name}"
    match -exit_code:
        case signal.SIGXCPU if definition.cpu_limit:
            return f"{killed}: it used up its CPU limit of {definition.cpu_limit.total_seconds():g} s"
        case signal.SIGKILL:
            return f"{killed}: unless somebody sent it, the machine ran out of memory; set memory_limit on the job"
        case signal.SIGSEGV | signal.SIGABRT | signal.SIGBUS | signal.SIGILL | signal.SIGFPE:
            return f"{killed}: native code crashed; the last lines of its log show where"
        case _:
            return killed


def _pipe(*, reader: ExitStack, writer: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    read_end, write_end = os.pipe()
    return (
        reader.enter_context(os.fdopen(read_end, "rb", buffering=0)),
        writer.enter_context(os.fdopen(write_end, "wb", buffering=0)),
    )
