"""Fix and replay: what people start, and what they stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.access import Permission
from mainspring.domain.instants import instant_text
from mainspring.domain.replay import Progress, Replay, ReplayPlan, ReplayStatus
from mainspring.domain.write_door import clean_text
from mainspring.errors import JobNotFoundError, MainspringError
from mainspring.security.audit import Target
from mainspring.store.jobs import definitions
from mainspring.store.recovery import replays

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.world import World

_MAX_REASON: Final = 1_000
_START: Final = "replay.start"
_CANCEL: Final = "replay.cancel"


class NothingToReplayError(MainspringError):
    """No execution has failed so, or all of them have been replayed."""

    code = "NOTHING_TO_REPLAY"


class ReplayNotFoundError(MainspringError):
    """There is no such replay."""

    code = "REPLAY_NOT_FOUND"


class ReplayEndedError(MainspringError):
    """The replay has ended, so that nothing of it can be stopped."""

    code = "REPLAY_ENDED"


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What is to be run again.

    Attributes:
        job_name: Executions of this job …
        fingerprint: … that failed with this error.
        code_version: Only those that this version of the application ran; None: any.
        failed_from: Only those that failed at or after this instant.
        failed_until: Only those that failed before this instant.
        plan: How many first, how fast then, and when it stops.
        reason: Why; kept in the audit.
    """

    job_name: str
    fingerprint: str
    code_version: str | None = None
    failed_from: datetime | None = None
    failed_until: datetime | None = None
    plan: ReplayPlan = field(default_factory=ReplayPlan)
    reason: str | None = None


class ReplayCommands:
    """Starts and cancels replays.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake who goes on with them.
        world: Ids.
        environment: Whose executions.
    """

    def __init__(self, *, database: Database, audit: Audit, signals: Signals, world: World, environment: str) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._world = world
        self._environment = environment

    async def start(self, actor: Actor, request: ReplayRequest) -> Replay:
        """Begin to run again what failed so; an execution that another replay has taken is left to that one.

        Args:
            actor: Who asks: platform staff.
            request: What is run again, and how.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            JobNotFoundError: There is no such job, or code does not declare it any more.
            NothingToReplayError: Nothing is left that failed so.
        """
        replay = self._new(actor, request)
        target = Target("replay", str(replay.id))
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, _START, target)

        def begin(connection: Connection) -> Replay:
            job = definitions.get(connection, self._environment, request.job_name)
            if job is None or job.retired_at is not None:
                raise JobNotFoundError(f"no job is called {request.job_name!r}, or code does not declare it any more")
            if not replays.add(connection, replay):
                raise NothingToReplayError(
                    f"nothing of {request.job_name!r} is left that failed with {request.fingerprint!r} so: either it "
                    "never did, or a replay has taken it already (`GET /admin/replays`)"
                )
            begun = _found(connection, self._environment, replay.id)
            self._audit.record(connection, actor, _START, target, after=_audited(begun), reason=replay.reason)
            return begun

        begun = await self._database.tx(begin)
        self._signals.send(replays.REPLAYS)
        return begun

    async def cancel(self, actor: Actor, replay_id: UUID, *, reason: str | None = None) -> Replay:
        """Start nothing more of a replay; what runs goes on, and what was not started may be replayed later.

        Raises:
            PermissionDeniedError: As for `start`.
            ReplayNotFoundError: There is none of that id.
            ReplayEndedError: It has ended.
        """
        target = Target("replay", str(replay_id))
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, _CANCEL, target)

        def end(connection: Connection) -> Replay:
            before = replays.get(connection, self._environment, replay_id, locked=True)
            if before is None:
                raise ReplayNotFoundError(f"there is no replay {replay_id}: `GET /admin/replays` lists them")
            if not replays.cancel(connection, replay_id, by=actor.subject):
                raise ReplayEndedError(f"replay {replay_id} is {before.status.value} already")
            after = _found(connection, self._environment, replay_id)
            self._audit.record(
                connection, actor, _CANCEL, target, before=_audited(before), after=_audited(after), reason=reason
            )
            return after

        return await self._database.tx(end)

    def _new(self, actor: Actor, request: ReplayRequest) -> Replay:
        return Replay(
            id=self._world.new_id(),
            environment=self._environment,
            job_name=request.job_name,
            fingerprint=request.fingerprint,
            code_version=request.code_version,
            failed_from=request.failed_from,
            failed_until=request.failed_until,
            plan=request.plan,
            status=ReplayStatus.CANARY,
            progress=Progress(requested=0),
            created_by=actor.subject,
            reason=None if request.reason is None else clean_text(request.reason, _MAX_REASON),
            ended_by=None,
            created_at=self._world.now(),
            ended_at=None,
        )


def _found(connection: Connection, environment: str, replay_id: UUID) -> Replay:
    replay = replays.get(connection, environment, replay_id)
    if replay is None:
        raise ReplayNotFoundError(f"there is no replay {replay_id}")
    return replay


def _audited(replay: Replay) -> dict[str, Any]:
    return {
        "status": replay.status.value,
        "jobName": replay.job_name,
        "fingerprint": replay.fingerprint,
        "codeVersion": replay.code_version,
        "failedFrom": instant_text(replay.failed_from),
        "failedUntil": instant_text(replay.failed_until),
        "executions": replay.progress.requested,
        "started": replay.progress.started,
        "canary": replay.plan.canary,
        "perMinute": replay.plan.per_minute,
        "stopAfter": replay.plan.stop_after,
    }
