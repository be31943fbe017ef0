"""Runs a program in a session of its own: what it writes is read as it comes, a stop reaches all it has started."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from mainspring.errors import PermanentError
from mainspring.runtime.local_executor import ends_within

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping

    from mainspring.jobs.command import Command
    from mainspring.world import World

    Stream = Literal["stdout", "stderr"]

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
_SIGNALLED: Final = 128
_DRAIN_SECONDS: Final = 1.0
PASSED_ON: Final = ("PATH", "HOME", "LOGNAME", "USER", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


class ProgramNotStartedError(PermanentError):
    """The program cannot be started: it is not there, it is no program, or it may not run as that user.

    Args:
        message: What is wrong.
        exit_code: What a shell would end with.
    """

    code = "PROGRAM_NOT_STARTED"

    def __init__(self, message: str, exit_code: int = NOT_EXECUTABLE) -> None:
        """Keep the message and the exit code."""
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended.

    Attributes:
        exit_code: Its exit code, 0 to 255; 128 and the number of a signal that killed it, as shells have it.
        killed_by: The name of that signal.
    """

    exit_code: int
    killed_by: str | None = None

    @classmethod
    def of(cls, return_code: int) -> ProgramEnd:
        """Return the end that `subprocess` tells by a number, which is negative for a signal.

        Example:
            >>> ProgramEnd.of(-9)
            ProgramEnd(exit_code=137, killed_by='SIGKILL')
        """
        if return_code >= 0:
            return cls(return_code)
        try:
            name = signal.Signals(-return_code).name
        except ValueError:
            name = f"signal {-return_code}"
        return cls(_SIGNALLED - return_code, name)

    def __str__(self) -> str:
        return f"was killed by {self.killed_by}" if self.killed_by else f"ended with exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class ProgramStart:
    """Everything that a program is started with.

    Attributes:
        arguments: The program, and its arguments.
        env: All of its environment.
        stdin: What it reads: a text, or an open file, or None for nothing.
        cwd: Where it starts; None: here.
        account: The user and groups it gets, as `subprocess` takes them.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str]
    stdin: str | IO[Any] | None = None
    cwd: str | None = None
    account: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, command: Command) -> ProgramStart:
        """Return how a command is started on this machine.

        Raises:
            ProgramNotStartedError: Its user is unknown, or another than this process, which is not root.
        """
        account = None if command.user is None else _account(command.user)
        env = environment_of(command, account)
        cwd = command.cwd
        if cwd is not None and (cwd == "~" or cwd.startswith("~/")):
            cwd = env.get("HOME", "/") + cwd[1:]
        return cls(command.arguments, env, command.stdin, cwd, _identity(account))


def environment_of(command: Command, account: pwd.struct_passwd | None = None) -> dict[str, str]:
    """Return the environment of a command: what finds programs and says who it is, and what the command names.

    The rest of the node's own environment stays here: it holds the secrets of this installation.
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if account is not None:
        own = {"LOGNAME": account.pw_name, "USER": account.pw_name, "HOME": account.pw_dir, "SHELL": "/bin/sh"}
        passed_on |= own
    return passed_on | dict(command.env)


class ProgramRun:
    """One program, from its start to its end.

    Args:
        world: Where tasks and timers come from.
        take: Is given what it writes, by stream and as it comes; it must not raise.
    """

    _ended: asyncio.Task[int]

    def __init__(self, world: World, take: Callable[[Stream, bytes], None]) -> None:
        self._world = world
        self._take = take
        self._ours = ExitStack()
        self._pipes: list[_Pipe] = []
        self._process: Process | None = None

    async def start(self, program: ProgramStart) -> None:
        """Start it.

        Raises:
            ProgramNotStartedError: It is not there, or may not be run.
        """
        name = program.arguments[0]
        with ExitStack() as failing, ExitStack() as theirs:
            failing.push(self._ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    *program.arguments,
                    stdin=_input(program.stdin, theirs),
                    stdout=await self._listen("stdout", theirs),
                    stderr=await self._listen("stderr", theirs),
                    cwd=program.cwd,
                    env=program.env,
                    start_new_session=True,
                    **(program.account or {}),
                )
            except FileNotFoundError as error:
                if error.filename == program.cwd:
                    raise ProgramNotStartedError(f"{name!r} cannot start in {program.cwd}: no such folder") from None
                raise ProgramNotStartedError(f"there is no program {name!r}: look at PATH", NOT_FOUND) from None
            except (OSError, ValueError) as error:
                raise ProgramNotStartedError(f"{name!r} cannot be run: {error}") from error
            failing.pop_all()
        self._process = process
        self._ended = self._world.spawn(process.wait(), name=f"program {name}")

    async def wait(self) -> ProgramEnd:
        """Wait for its end, and for what it has written last.

        What it has started and left behind goes on, as under cron, and is not listened to for long.
        """
        await asyncio.wait([self._ended])
        await self._hear_out()
        return ProgramEnd.of(self._ended.result())

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it has started; before its start, to nobody."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self._process.pid, number)

    async def stop(self, grace: float) -> ProgramEnd:
        """End it: `TERM`, and after `grace` seconds `KILL` for whatever is left of its group."""
        self.send(signal.SIGTERM)
        try:
            await ends_within(self._world, self._ended, grace)
        finally:
            self.send(signal.SIGKILL)
        return await self.wait()

    async def _hear_out(self) -> None:
        closed = asyncio.gather(*(pipe.closed for pipe in self._pipes))
        await ends_within(self._world, closed, _DRAIN_SECONDS)
        self._ours.close()

    async def _listen(self, stream: Stream, theirs: ExitStack) -> IO[bytes]:
        read_end, write_end = os.pipe()
        ours = self._ours.enter_context(os.fdopen(read_end, "rb", buffering=0))
        their_end = theirs.enter_context(os.fdopen(write_end, "wb", buffering=0))
        pipe = _Pipe(lambda data: self._take(stream, data))
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: pipe, ours)
        self._ours.callback(transport.close)
        self._pipes.append(pipe)
        return their_end


class _Pipe(asyncio.Protocol):
    """This end of a pipe that a program writes to."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        if not self.closed.done():
            self.closed.set_result(None)


def _input(stdin: str | IO[Any] | None, theirs: ExitStack) -> IO[Any] | int:
    """Return what a program reads: a text lies in a file without a name, so that nobody has to keep a pipe filled."""
    if stdin is None:
        return asyncio.subprocess.DEVNULL
    if not isinstance(stdin, str):
        return stdin
    file = theirs.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it stays open until the program has it
    file.write(stdin.encode("utf-8", "surrogateescape"))
    file.seek(0)
    return file


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ProgramNotStartedError(
            f"there is no user {user!r} on this machine: make the account, or change user="
        ) from None


def _identity(account: pwd.struct_passwd | None) -> Mapping[str, Any] | None:
    """Return what makes a program run as an account; None: it runs as this process does."""
    own = os.geteuid()
    if account is None or account.pw_uid == own:
        return None
    if own != 0:
        raise ProgramNotStartedError(
            f"it is to run as {account.pw_name!r}, and only root may start programs as somebody else: run a node as "
            f"{account.pw_name!r}, give the job a queue that only that node serves, and leave user= out"
        )
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
