"""Commands on queues: pause, resume, and how many executions of one may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.control.organizations import MOST, LimitOutOfRangeError
from mainspring.control.schedules import MAX_REASON, PastInstantError, VersionConflictError
from mainspring.domain.access import Permission
from mainspring.domain.interval import require_aware
from mainspring.domain.write_door import clean_text
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.queue import queues

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.queue.queues import StoredQueue
    from mainspring.world import World

_LONGEST_NAME: Final = 200


class UnfitQueueError(MainspringError):
    """What was given cannot be the name of a queue."""

    code = "QUEUE_UNFIT"


class QueueCommands:
    """Changes queues, each change in one transaction with its audit entry; what runs goes on.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake workers where there is more to claim.
        world: The present instant.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals, world: World) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._world = world

    async def pause(
        self,
        actor: Actor,
        name: str,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        version: int | None = None,
    ) -> None:
        """Let nothing of a queue be claimed; executions are still accepted, and wait.

        Args:
            actor: Who asks: platform staff.
            name: The queue.
            reason: Why, for those who find it paused.
            until: When it opens by itself; None: when somebody resumes it.
            version: What the actor has seen; None: any.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            PastInstantError: `until` is past.
            VersionConflictError: Somebody has changed it since.
            UnfitQueueError: There can be no such queue.
        """
        if until is not None and require_aware(until) <= self._world.now():
            raise PastInstantError(f"the queue {name!r} cannot be paused until {until.isoformat()}: that is past")
        values = queues.paused(actor.subject, _said(reason), until)
        after = {"paused": True, "until": None if until is None else until.isoformat()}
        await self._change(actor, "queue.pause", name, values, after, reason=reason, version=version)

    async def resume(self, actor: Actor, name: str, *, reason: str | None = None, version: int | None = None) -> None:
        """Let a queue be claimed from again.

        Raises:
            PermissionDeniedError, VersionConflictError, UnfitQueueError: As for `pause`.
        """
        after = {"paused": False, "until": None}
        await self._change(actor, "queue.resume", name, queues.OPEN, after, reason=reason, version=version)

    async def limit(
        self,
        actor: Actor,
        name: str,
        max_running: int | None,
        *,
        reason: str | None = None,
        version: int | None = None,
    ) -> None:
        """Say how many executions of a queue may run at once, on all nodes together.

        Args:
            actor: Who asks: platform staff.
            name: The queue.
            max_running: 0 to 10,000, 0 holding it back; None: as many as there are slots.
            reason: Why, for the audit.
            version: What the actor has seen; None: any.

        Raises:
            PermissionDeniedError, VersionConflictError, UnfitQueueError: As for `pause`.
            LimitOutOfRangeError: There can be no such limit.
        """
        if max_running is not None and not 0 <= max_running <= MOST:
            raise LimitOutOfRangeError(
                f"queue {name!r}: {max_running} executions cannot run at once: give 0 to {MOST:,}, or no limit"
            )
        values = {"max_running": max_running}
        after = {"maxRunning": max_running}
        await self._change(actor, "queue.limit", name, values, after, reason=reason, version=version)

    async def _change(
        self,
        actor: Actor,
        action: str,
        name: str,
        values: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        reason: str | None,
        version: int | None,
    ) -> None:
        target = Target("queue", name)
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)
        _require_name(name)

        def change(connection: Connection) -> None:
            seen = queues.lock(connection, actor.environment, name)
            if version is not None and version != seen.version:
                raise VersionConflictError(
                    f"the queue {name!r} has changed since it was read (version {seen.version}, not {version}): look "
                    "at it again"
                )
            queues.change(connection, actor.environment, name, values)
            before = {fact: value for fact, value in _facts(seen).items() if fact in after}
            self._audit.record(connection, actor, action, target, before=before, after=after, reason=_said(reason))

        await self._database.tx(change)
        self._signals.send(WORK)


def _facts(queue: StoredQueue) -> dict[str, Any]:
    until = queue.pause.until if queue.pause is not None else None
    return {
        "paused": queue.pause is not None,
        "until": None if until is None else until.isoformat(),
        "maxRunning": queue.max_running,
    }


def _require_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise UnfitQueueError(f"{name!r} cannot be the name of a queue: use 1 to {_LONGEST_NAME} printable characters")


def _said(reason: str | None) -> str | None:
    return clean_text(reason, MAX_REASON) if reason else None
