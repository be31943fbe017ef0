"""Flows: executions asked for together, of which some wait for others. Chains, and fan-out with a join.

A flow is accepted in one transaction, a few statements however wide it is. A parent stands before its child, so that no
flow has a circle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Unpack
from uuid import UUID

from mainspring.control.handles import ExecutionHandle
from mainspring.control.options import ExecutionRequest
from mainspring.domain.execution import Trigger
from mainspring.domain.write_door import verbatim_json
from mainspring.errors import DefinitionError
from mainspring.observability.run_identity import current_run
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import dependencies, enqueues, idempotency, organization_limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.enqueues import NewExecution
    from mainspring.store.upkeep.open_store import OpenStore
    from mainspring.world import World

MAX_WIDTH: Final = 10_000
"""How many executions one join waits for."""
MAX_DEPTH: Final = 1_000
"""How many executions one chain has."""
_AT_ONCE: Final = 100
_NOT_IN_FLOWS: Final = ("tx", "unique_key", "idempotency_key")


@dataclass(frozen=True, slots=True)
class FanOut:
    """What a fan-out has asked for.

    Attributes:
        branches: The executions that run side by side, in the order in which they were asked for.
        join: The one that waits for all of them.
    """

    branches: list[ExecutionHandle[Any]]
    join: ExecutionHandle[Any]


class Flows:
    """Asks for executions that wait for each other.

    Args:
        commands: Handles work with these.
        actor: The application.
        store: The open store.
        world: Ids.
    """

    def __init__(self, commands: ExecutionCommands, actor: Actor, store: OpenStore, *, world: World) -> None:
        self._commands = commands
        self._actor = actor
        self._database = store.database
        self._signals = store.signals
        self._world = world

    def request(self, job_name: str, payload: object = None, **options: Unpack[EnqueueOptions]) -> ExecutionRequest:
        """Return a part of a flow by the name of its job; `JobHandle.request` does so by the job itself."""
        return ExecutionRequest(job_name, payload, options)

    async def chain(
        self, requests: Sequence[ExecutionRequest], *, key: str | None = None
    ) -> list[ExecutionHandle[Any]]:
        """Ask for executions that run one after the other.

        Where one ends without success, those after it are skipped, save one that is asked for with
        `on_parent_failure="run"`.

        Args:
            requests: In their order, 1 to 1,000.
            key: Asking again with this key returns the flow that was asked for first. In a handler it counts for that
                execution alone, and is by default the name of the last job: an attempt that is repeated after a crash
                asks for nothing twice.

        Returns:
            The executions, in their order.

        Raises:
            DefinitionError: There are too many or none, or an option does not go with flows.
            IdempotencyConflictError: The key was used for another flow.

        Example:
            >>> *_, last = await app.flows.chain([fetch.request(url), store.request()])  # doctest: +SKIP
        """
        _require_count("a chain", len(requests), MAX_DEPTH)

        def follow(new: list[NewExecution]) -> None:
            for before, item in pairwise(new):
                item.depends_on += (before.id,)

        return await self._ask_for(requests, follow, key)

    async def fan_out(
        self, branches: Sequence[ExecutionRequest], *, then: ExecutionRequest, key: str | None = None
    ) -> FanOut:
        """Ask for executions that run side by side, and for one that waits for all of them.

        Where a branch ends without success, the join is skipped, or runs after the last branch where it is asked for
        with `on_parent_failure="run"`. It reads what they gave by `parents_of(ctx.execution_id)`.

        Args:
            branches: At most 10,000; without any the join runs at once.
            then: The join.
            key: As for `chain`; by default the name of the join's job.

        Raises:
            DefinitionError: There are too many, or an option does not go with flows.
            IdempotencyConflictError: The key was used for another flow.

        Example:
            >>> pages = [fetch.request(Page(n)) for n in range(500)]
            >>> flow = await app.flows.fan_out(pages, then=merge.request())  # doctest: +SKIP
            >>> await flow.join.wait()  # doctest: +SKIP
        """
        _require_count("a fan-out", 1 + len(branches), 1 + MAX_WIDTH)

        def join(new: list[NewExecution]) -> None:
            new[-1].depends_on += tuple(item.id for item in new[:-1])

        *handles, last = await self._ask_for([*branches, then], join, key)
        return FanOut(handles, last)

    async def parents_of(self, execution_id: UUID | str) -> AsyncIterator[Execution]:
        """Yield the executions that one waits for, or has waited for, in the order in which they were asked for.

        They are read a hundred at a time. One that retention has taken is left out.

        Example:
            >>> async def merge(ctx: JobContext[None]) -> int:  # doctest: +SKIP
            ...     return sum([page.result["rows"] async for page in app.flows.parents_of(ctx.execution_id)])
        """
        child = UUID(str(execution_id))
        after: UUID | None = None
        while True:
            last = after
            found, after = await self._database.read(
                lambda connection, last=last: dependencies.parents(
                    connection, self._actor.scope, child, after=last, most=_AT_ONCE
                )
            )
            for execution in found:
                yield execution
            if after is None:
                return

    async def _ask_for(
        self, requests: Sequence[ExecutionRequest], connect: Callable[[list[NewExecution]], None], key: str | None
    ) -> list[ExecutionHandle[Any]]:
        jobs = {name: await self._commands.job(name) for name in {request.job_name for request in requests}}
        new = self._new(requests, jobs)
        _number(new, self._last_id(len(new)))
        connect(new)
        owner, key = _owner_and_key(requests[-1], key)
        wanted = {item.organization_id for item in new if item.organization_id is not None}
        environment = self._actor.environment

        def accept(connection: Connection) -> UUID:
            if wanted:
                organization_limits.ensure(connection, environment, sorted(wanted))
            if key is not None:
                before = idempotency.claim(
                    connection, environment, owner, key, fingerprint=_fingerprint(new), execution_id=new[-1].id
                )
                if before is not None:
                    return before
            enqueues.insert(connection, new)
            return new[-1].id

        _number(new, await self._database.tx(accept))
        self._signals.send(WORK)
        return [ExecutionHandle(item.id, jobs[item.job_name], self._commands, self._actor) for item in new]

    def _new(self, requests: Sequence[ExecutionRequest], jobs: Mapping[str, RegisteredJob]) -> list[NewExecution]:
        new: list[NewExecution] = []
        for request in requests:
            unfit = [option for option in _NOT_IN_FLOWS if option in request.options]
            if unfit:
                raise DefinitionError(
                    f"job {request.job_name!r} cannot be a part of a flow with {' and '.join(unfit)}: a flow is "
                    "accepted as a whole, in a transaction of its own and under its own `key`"
                )
            job = jobs[request.job_name]
            new += self._commands.requests.make(job, [request.payload], Trigger.SYSTEM, request.options)
        return new

    def _last_id(self, count: int) -> UUID:
        """Return an id below which there is room for those of the others, within its random bits."""
        last = self._world.new_id()
        while (last.int & 0xFFFF_FFFF) < count:
            last = self._world.new_id()
        return last


def _number(new: Sequence[NewExecution], last: UUID) -> None:
    """Give a flow's executions ids that count up to the last one's.

    So they sort in the order in which they were asked for, and the last one's id tells all others.
    """
    first = last.int - len(new) + 1
    for place, item in enumerate(new):
        item.id = UUID(int=first + place)


def _owner_and_key(last: ExecutionRequest, key: str | None) -> tuple[str, str | None]:
    """Return for whom a key counts, and the key."""
    run = current_run.get()
    if run is not None and run.execution is not None:
        return verbatim_json(["execution", run.execution]), key or last.job_name
    return verbatim_json([last.options.get("organization_id"), last.options.get("user_id")]), key


def _fingerprint(new: Sequence[NewExecution]) -> str:
    """Return what is equal for the same flow asked for again."""
    return hashlib.sha256(verbatim_json([[item.job_name, item.payload] for item in new]).encode()).hexdigest()


def _require_count(flow: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise DefinitionError(f"{flow} of {count:,} executions cannot be asked for: it takes 1 to {most:,}")
