"""What people do with the breaker of a job: hold it open, and close it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.access import Permission
from mainspring.domain.instants import instant_text
from mainspring.domain.write_door import clean_text
from mainspring.errors import JobNotFoundError, MainspringError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.jobs import definitions
from mainspring.store.recovery import job_breakers

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.recovery.job_breakers import StoredBreaker

_MAX_REASON: Final = 1_000
_HOLD: Final = "breaker.hold_open"
_CLOSE: Final = "breaker.close"


class NoBreakerError(MainspringError):
    """The job declares no breaker."""

    code = "NO_BREAKER"


class JobBreakerCommands:
    """Holds executions of a job back, and lets them go.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake workers.
        environment: Whose jobs.
    """

    def __init__(self, *, database: Database, audit: Audit, signals: Signals, environment: str) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._environment = environment

    async def hold_open(self, actor: Actor, job_name: str, *, reason: str | None = None) -> StoredBreaker:
        """Start no execution of a job, and no probe, until somebody closes its breaker; what runs goes on.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            JobNotFoundError: There is no such job.
            NoBreakerError: It declares no breaker.
        """
        return await self._set(actor, job_name, _HOLD, reason)

    async def close(self, actor: Actor, job_name: str, *, reason: str | None = None) -> StoredBreaker:
        """Let the executions go on that wait for the breaker of a job, and count its failures anew.

        Raises:
            PermissionDeniedError: As for `hold_open`.
            JobNotFoundError: As for `hold_open`.
            NoBreakerError: As for `hold_open`.
        """
        return await self._set(actor, job_name, _CLOSE, reason)

    async def _set(self, actor: Actor, job_name: str, action: str, reason: str | None) -> StoredBreaker:
        target = Target("job", job_name)
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)
        said = None if reason is None else clean_text(reason, _MAX_REASON)

        def change(connection: Connection) -> StoredBreaker:
            self._require_breaker(connection, job_name)
            before = job_breakers.lock(connection, self._environment, job_name)
            if action == _HOLD:
                job_breakers.hold_open(connection, self._environment, job_name, by=actor.subject, reason=said)
            else:
                job_breakers.close(connection, self._environment, job_name)
            after = job_breakers.lock(connection, self._environment, job_name)
            self._audit.record(
                connection, actor, action, target, before=_audited(before), after=_audited(after), reason=said
            )
            return after

        changed = await self._database.tx(change)
        self._signals.send(WORK)
        return changed

    def _require_breaker(self, connection: Connection, job_name: str) -> None:
        found = definitions.get(connection, self._environment, job_name)
        if found is None:
            raise JobNotFoundError(f"no job is called {job_name!r}")
        if not found.code.get("breaker"):
            raise NoBreakerError(
                f"job {job_name!r} declares no breaker: give it one with `@app.job(..., breaker=CircuitBreaker())`, "
                "or pause its schedule"
            )


def _audited(breaker: StoredBreaker) -> dict[str, Any]:
    return {
        "state": breaker.state.value,
        "failures": breaker.failures,
        "until": instant_text(breaker.until),
        "heldBy": breaker.held_by,
    }
