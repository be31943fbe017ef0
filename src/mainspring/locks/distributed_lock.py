"""`distributed_lock`: one holder in the whole cluster, as a decorator and as a context manager."""

from __future__ import annotations

import functools
import inspect
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar, overload

from mainspring.errors import DefinitionError, LockHeldError, LockUsageError
from mainspring.jobs.acquired_lock import acquired_locks
from mainspring.jobs.current_call import current_call
from mainspring.locks.backend import Refusal
from mainspring.locks.holding import AsyncHolding, BlockingHolding
from mainspring.locks.lock_key import KeyTemplate, checked_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    from mainspring.jobs.acquired_lock import AcquiredLock
    from mainspring.locks.backend import LockBackend

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Holding = TypeVar("Holding", BlockingHolding, AsyncHolding)

_logger = logging.getLogger(__name__)

LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 86_400.0
_MARK: Final = "__distributed_lock__"


class distributed_lock:  # noqa: N801 - it reads as a function, as `contextlib.suppress` does
    """Let one caller at a time work, in the whole cluster.

    As a decorator of a job's handler: where the lock is held, the execution ends `skipped`. As a decorator of any other
    function: a call returns None. As a context manager: `LockHeldError` is raised, which ends an execution `skipped`
    if nobody catches it. Each logs a warning.

    The lock is renewed at every third of its time to live, on a thread of its own, however long the work takes. If it
    is lost all the same, asynchronous work is cancelled; other work sees `ctx.cancelled` and `held.lost`; and the block
    or call ends with `LockLostError`. What a lock can promise, and what only its fence can, is in `docs/locks.md`.

    Args:
        key: What to lock. On a decorated function, names of parameters in braces are filled in: `sync:{org}`.
        ttl: The time to live without a renewal, from 0.1 s to a day, as seconds or a timedelta: how long the others
            wait when a holder dies. It may be much shorter than the work: 30 s fits most.
        wait: How long to wait while it is held; by default not at all.
        backend: Where it is written down; by default where the application that runs does: in its store, with Redis
            before it where `MAINSPRING_REDIS_URL` is set.

    Raises:
        DefinitionError: The time to live is missing or out of its range, or the wait is negative.

    Example:
        >>> @app.job("sync-orders", schedule=Every(minutes=5))  # doctest: +SKIP
        ... @distributed_lock("sync:orders", ttl=30)
        ... async def sync_orders(ctx: JobContext) -> None:
        ...     await warehouse.load(orders, fence=ctx.lock.fence)
    """

    def __init__(
        self,
        key: str,
        ttl: timedelta | float | None = None,
        wait: timedelta | float | None = None,
        backend: LockBackend | None = None,
    ) -> None:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - used without its parentheses
            raise DefinitionError("a lock needs a key and a time to live: write `@distributed_lock('nightly', ttl=30)`")
        self.key = key
        self.ttl = _seconds(key, "ttl", ttl)
        self.wait = _seconds(key, "wait", wait)
        self.backend = backend
        self._blocking: list[BlockingHolding] = []
        self._asynchronous: list[AsyncHolding] = []
        if not LEAST_SECONDS <= self.ttl <= MOST_SECONDS:
            said = "has no time to live (ttl)" if ttl is None else f"has a time to live of {self.ttl:g} s"
            raise DefinitionError(
                f"the lock {key!r} {said}: say how long the others wait when a holder dies, from {LEAST_SECONDS} s to "
                "a day; it is renewed while the work goes on. Write `ttl=30`"
            )
        if not 0 <= self.wait <= MOST_SECONDS:
            raise DefinitionError(f"the lock {key!r} has a wait of {self.wait:g} s: it must be 0 to {MOST_SECONDS:g}")

    # As a decorator ---------------------------------------------------------------------------------------------------

    @overload
    def __call__(
        self, function: Callable[Parameters, Awaitable[Result]]
    ) -> Callable[Parameters, Coroutine[Any, Any, Result | None]]: ...
    @overload
    def __call__(self, function: Callable[Parameters, Result]) -> Callable[Parameters, Result | None]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function under the lock.

        Raises:
            DefinitionError: It cannot be locked, or the key names what it does not take.
        """
        _refuse_what_cannot_be_locked(self.key, function)
        key, is_async = KeyTemplate(self.key, function), inspect.iscoroutinefunction(function)
        locked = self._around_coroutine(function, key) if is_async else self._around_call(function, key)
        setattr(locked, _MARK, self)
        return locked

    def _around_coroutine(self, function: Callable[..., Any], template: KeyTemplate) -> Callable[..., Any]:
        @functools.wraps(function)
        async def locked(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the function
            key = template.fill(arguments, options)
            holding = AsyncHolding(key, seconds=self.ttl, wait=self.wait, backend=self.backend)
            if (refusal := await holding.take()) is not None:
                return self._skip(function, key, refusal)
            async with holding:
                return await function(*arguments, **options)

        return locked

    def _around_call(self, function: Callable[..., Any], template: KeyTemplate) -> Callable[..., Any]:
        @functools.wraps(function)
        def locked(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the function
            key = template.fill(arguments, options)
            holding = BlockingHolding(key, seconds=self.ttl, wait=self.wait, backend=self.backend)
            if (refusal := holding.take()) is not None:
                return self._skip(function, key, refusal)
            with holding:
                return _refuse_to_await(key, function(*arguments, **options))

        return locked

    def _skip(self, function: Callable[..., Any], key: str, refusal: Refusal) -> None:
        _logger.warning("%s; %s is skipped", self._reason(key, refusal), getattr(function, "__qualname__", function))
        call = current_call.get()
        if call is not None and call.is_of(function):
            raise LockHeldError(self._reason(key, _shown(refusal)))

    def _reason(self, key: str, refusal: Refusal) -> str:
        waited = f" still, after a wait of {self.wait:g} s," if self.wait else ""
        return f"lock {key!r} is{waited} held by {refusal.holder}"

    # As a context manager ---------------------------------------------------------------------------------------------

    def __enter__(self) -> AcquiredLock:
        """Take the lock.

        Raises:
            LockHeldError: Somebody else holds it.
        """
        holding = BlockingHolding(checked_key(self.key), seconds=self.ttl, wait=self.wait, backend=self.backend)
        if (refusal := holding.take()) is not None:
            self._refuse(refusal)
        self._blocking.append(holding)
        return holding.lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back.

        Raises:
            LockLostError: Somebody else may have been at work.
        """
        _entered_here(self._blocking).__exit__(kind, error, trace)

    async def __aenter__(self) -> AcquiredLock:
        """Take the lock.

        Raises:
            LockHeldError: Somebody else holds it.
        """
        holding = AsyncHolding(checked_key(self.key), seconds=self.ttl, wait=self.wait, backend=self.backend)
        if (refusal := await holding.take()) is not None:
            self._refuse(refusal)
        self._asynchronous.append(holding)
        return holding.lock

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back.

        Raises:
            LockLostError: Somebody else may have been at work.
        """
        await _entered_here(self._asynchronous).__aexit__(kind, error, trace)

    def _refuse(self, refusal: Refusal) -> NoReturn:
        _logger.warning("%s; what it guards is skipped", self._reason(self.key, refusal))
        raise LockHeldError(self._reason(self.key, _shown(refusal)))


def declared_lock(function: Callable[..., object]) -> distributed_lock | None:
    """Return the lock that a function is decorated with, also beneath decorators that use `functools.wraps`."""
    return getattr(function, _MARK, None)


def _shown(refusal: Refusal) -> Refusal:
    """Return what the reason of a skip may say: an organization's executions do not tell it of those of others."""
    call = current_call.get()
    of_organization = call is not None and call.context is not None and call.context.organization_id is not None
    return Refusal("somebody else") if of_organization else refusal


def _seconds(key: str, name: str, value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise DefinitionError(f"the lock {key!r} has the {name} {value!r}: give seconds, or a timedelta")


def _refuse_what_cannot_be_locked(key: str, function: object) -> None:
    why = None
    if hasattr(function, "enqueue"):
        why = "is a job already: put `@distributed_lock` below `@app.job`"
    elif inspect.isclass(function) or not callable(function):
        why = "is no function"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        why = "is a generator, which works after its call: take the lock with `with` inside it"
    if why is not None:
        raise DefinitionError(
            f"the lock {key!r} cannot be put on {getattr(function, '__name__', function)!r}, which {why}"
        )


def _refuse_to_await(key: str, result: object) -> object:
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that it was never awaited
    raise LockUsageError(
        f"what lock {key!r} guards returned something to await, which would work after the lock is given back: declare "
        "it as `async def`"
    )


def _entered_here(entered: list[Holding]) -> Holding:
    """Take out the holding that was entered in this context, or, where its block ends in another one, the last."""
    here = acquired_locks.get()
    holding = next((each for each in entered if each.lock in here), entered[-1])
    entered.remove(holding)
    return holding
