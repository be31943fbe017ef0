"""The job `mainspring.bulk_action`: cancels or retries all executions that a filter finds, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from mainspring.builtin.steps import invalid_payload, read_request
from mainspring.control.bulk_actions import BulkRequest, ended
from mainspring.control.bulk_runs import MOST_AT_ONCE, BulkRuns
from mainspring.control.executions import target_of
from mainspring.domain.access import Origin
from mainspring.domain.result import JobResult
from mainspring.domain.run_filter import read_filter
from mainspring.errors import PermanentError, PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.security.requesters import present_actor
from mainspring.security.secret_key import Purpose, secret_key_in_force
from mainspring.store.runs import run_search
from mainspring.store.runs.run_search_conditions import RunSearch

if TYPE_CHECKING:
    from mainspring.control.bulk_runs import BulkEnd
    from mainspring.domain.access import Actor, Scope
    from mainspring.jobs.context import JobContext
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection
    from mainspring.store.upkeep.open_store import OpenStore
    from mainspring.world import World

_MOST_EXAMPLES: Final = 20
_MOST_REASONS: Final = 20
_DONE: Final = {"cancel": "cancelled", "retry": "queued again"}


@dataclass(slots=True)
class Course:
    """How far a bulk action has come.

    Attributes:
        before: The executions older than this one are left to do.
        done: How many have changed.
        refused: Why others have not, with some of those of each reason.
        refusals: How many have not.
    """

    before: UUID
    done: int = 0
    refusals: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """Return what `as_json` gave."""
        return cls(UUID(kept["before"]), kept["done"], kept["refusals"], kept["refused"])

    def as_json(self) -> dict[str, Any]:
        """Return the form that is kept as the checkpoint."""
        return {"before": str(self.before), "done": self.done, "refusals": self.refusals, "refused": self.refused}

    def add(self, end: BulkEnd) -> None:
        """Count what became of a batch."""
        self.done += len(end.done)
        self.refusals += len(end.refused)
        for one in end.refused:
            if one.reason in self.refused or len(self.refused) < _MOST_REASONS:
                examples = self.refused.setdefault(one.reason, [])
                examples += [str(one.id)] if len(examples) < _MOST_EXAMPLES else []


class BulkAction:
    """Carries out `mainspring.bulk_action`, which the list of runs begins.

    It goes from the newest of the executions that were meant to the oldest, a hundred at a time: each hundred changes
    in one transaction, with an audit entry for each, by the permissions that the requester has at that instant. It may
    be cancelled between them. After a crash the next attempt goes on with the hundred that the last one was at: what
    has changed already is not found again, or refused.

    Args:
        opened: The store.
        settings: The environment, and the key of the audit.
        world: Ids.
    """

    def __init__(self, opened: OpenStore, settings: Settings, world: World) -> None:
        self._database = opened.database
        self._environment = settings.environment
        key = secret_key_in_force(settings, world).derive(Purpose.AUDIT)
        self._audit = Audit(self._database, world, key)
        self._runs = BulkRuns(self._database, self._audit, opened.signals)

    async def carry_out(self, ctx: JobContext[dict[str, Any]], payload: object) -> JobResult:
        """Change what the filter finds.

        Raises:
            InvalidPayloadError: The payload is wrong.
            PermanentError: Who asked for it may not do it any more; what was done until then stays done.
        """
        request = read_request(ctx, payload, BulkRequest)
        search = _search_of(ctx, request)
        course = Course(UUID(int=request.up_to.int + 1))
        if ctx.last_checkpoint is not None:
            course = Course.from_json(ctx.last_checkpoint)
        try:
            actor = await self._change_all(ctx, request, search, course)
        except PermissionDeniedError as refusal:
            raise PermanentError(str(refusal)) from refusal
        await self._record_end(ctx, actor, request, course)
        return _result_of(request, course)

    async def _change_all(
        self, ctx: JobContext[dict[str, Any]], request: BulkRequest, search: RunSearch, course: Course
    ) -> Actor:
        origin = Origin(request_id=str(ctx.execution_id))
        while True:
            actor = await present_actor(self._database, self._environment, ctx.user_id, ctx.organization_id, origin)
            ids = await self._page(actor.scope, search, course.before)
            end = await self._runs.change(actor, request.verb, ids, reason=request.reason)
            if not ids:
                return actor
            course.add(end)
            course.before = ids[-1]
            _tell(ctx, request, course, end)
            await ctx.checkpoint(course.as_json())
            ctx.raise_if_cancelled()

    async def _page(self, scope: Scope, search: RunSearch, before: UUID) -> list[UUID]:
        def read(connection: Connection) -> list[UUID]:
            named = run_search.named(connection, scope, search)
            return [run.id for run in run_search.page(connection, scope, named, size=MOST_AT_ONCE, before=before).runs]

        return await self._database.read(read)

    async def _record_end(
        self, ctx: JobContext[dict[str, Any]], actor: Actor, request: BulkRequest, course: Course
    ) -> None:
        facts = {"filter": request.filter, "done": course.done, "refused": course.refusals}

        def record(connection: Connection) -> None:
            target = target_of(ctx.execution_id)
            self._audit.record(connection, actor, ended(request.verb), target, after=facts, reason=request.reason)

        await self._database.tx(record)


def _search_of(ctx: JobContext[dict[str, Any]], request: BulkRequest) -> RunSearch:
    wanted = read_filter(request.filter)
    try:
        zone = ZoneInfo(request.zone)
    except (ValueError, OSError) as trouble:
        raise invalid_payload(ctx, f"zone: {trouble}") from trouble
    if wanted.faults:
        raise invalid_payload(ctx, f"filter: {wanted.faults[0].words}")
    return RunSearch(wanted, request.as_of, zone)


def _tell(ctx: JobContext[dict[str, Any]], request: BulkRequest, course: Course, end: BulkEnd) -> None:
    processed = course.done + course.refusals
    ctx.items(processed=len(end.done) + len(end.refused), succeeded=len(end.done), failed=len(end.refused))
    ctx.progress(processed, of=max(request.matched, processed + 1), message=_summary(request, course))
    for one in end.refused:
        ctx.log(f"{one.id} stays as it is: {one.reason}", level="warning")


def _summary(request: BulkRequest, course: Course) -> str:
    done = f"{course.done:,} {_DONE[request.verb]}"
    return f"{done}; {course.refusals:,} could not be" if course.refusals else done


def _result_of(request: BulkRequest, course: Course) -> JobResult:
    return JobResult(
        items_processed=course.done + course.refusals,
        items_succeeded=course.done,
        items_failed=course.refusals,
        summary=_summary(request, course),
        details={"refused": course.refused} if course.refused else None,
    )
