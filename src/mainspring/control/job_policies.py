"""Commands on how a job is run and watched: its retries, timeout, thresholds and configuration, beside its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.control.schedules import VersionConflictError
from mainspring.control.service_job_checks import UnfitJobError
from mainspring.domain.access import Permission
from mainspring.domain.redaction import redact
from mainspring.domain.write_door import MAX_VALUE_BYTES, json_text, to_jsonable
from mainspring.errors import DefinitionError, JobNotFoundError
from mainspring.security.audit import Target
from mainspring.store.engine.signals import SERVICES
from mainspring.store.jobs import policies
from mainspring.store.jobs.stored_policy import retry_of, thresholds_of
from mainspring.store.upkeep import job_retention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.jobs.policies import StoredPolicies

_EDIT: Final = "job.edit"
_WHOLE: Final = {"retry": retry_of, "thresholds": thresholds_of}


@dataclass(frozen=True, slots=True)
class ChangedPolicies:
    """What a command has changed.

    Attributes:
        version: The version of the definition from now on.
        before: The policies that were given, as they were in force.
        after: The same, as they are now.
    """

    version: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class JobPolicyCommands:
    """What people put in the place of what code says of how a job is run and watched.

    It survives deployments. Nodes carry it out from the next attempt on: they are told at once, and look by themselves
    every five minutes.

    Args:
        database: The store.
        signals: Tells the nodes.
        environment: The environment of this program.
        audit: Permissions, and where the doings of actors are written.
    """

    def __init__(self, *, database: Database, signals: Signals, environment: str, audit: Audit) -> None:
        self._database = database
        self._signals = signals
        self._environment = environment
        self._audit = audit

    async def change(
        self,
        actor: Actor,
        name: str,
        changes: Mapping[str, Any],
        *,
        reason: str | None = None,
        version: int | None = None,
    ) -> ChangedPolicies:
        """Change policies of a job; those that are not named stay.

        Args:
            actor: Who asks.
            name: The job.
            changes: `timeout` (seconds), and fields of `retry`, `thresholds`, `retention` (days) and `config` that
                replace those in force; durations are seconds. None in the place of a policy brings back what code says.
            reason: Why.
            version: The version of the definition that the actor has seen; None: whatever it is now.

        Raises:
            PermissionDeniedError: The actor lacks `schedules.edit_schedules`.
            JobNotFoundError: No job is called so.
            VersionConflictError: Somebody else has changed it meanwhile.
            UnfitJobError: A job could not be run so.
        """
        target = Target("job", name)
        await self._audit.require(actor, Permission.EDIT_SCHEDULES, _EDIT, target)

        def change(connection: Connection) -> ChangedPolicies:
            stored = policies.lock(connection, self._environment, name)
            if stored is None:
                raise JobNotFoundError(f"no job is called {name!r} in the environment {self._environment!r}")
            if version is not None and stored.version != version:
                raise VersionConflictError(
                    f"job {name!r} was changed meanwhile: you have seen version {version}, and it is "
                    f"{stored.version} now; look at it again"
                )
            override = _changed(stored, changes)
            _require_small(override)
            before = {policy: stored.in_force(policy) for policy in changes}
            policies.write(connection, self._environment, name, override)
            after = {policy: _with(stored, override).in_force(policy) for policy in changes}
            self._audit.record(connection, actor, _EDIT, target, before=before, after=after, reason=reason)
            return ChangedPolicies(stored.version + 1, before, after)

        changed = await self._database.tx(change)
        self._signals.send(SERVICES)
        return changed


def _changed(stored: StoredPolicies, changes: Mapping[str, Any]) -> dict[str, Any]:
    override = dict(stored.override)
    for policy, value in changes.items():
        if value is None:
            override.pop(policy, None)
        elif policy == "config":
            override[policy] = redact({**override.get(policy, {}), **value})
        elif policy == job_retention.POLICY:
            override[policy] = {**override.get(policy, {}), **value}
        elif policy in _WHOLE:
            override[policy] = _whole(policy, {**(stored.in_force(policy) or {}), **value})
        else:
            override[policy] = value
    return override


def _whole(policy: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy with all its fields, as a definition keeps it.

    Raises:
        UnfitJobError: A job could not be run so.
    """
    try:
        return to_jsonable(_WHOLE[policy]({policy: fields}))
    except DefinitionError as error:
        raise UnfitJobError(str(error)) from error


def _with(stored: StoredPolicies, override: Mapping[str, Any]) -> StoredPolicies:
    return policies.StoredPolicies(stored.code, override, stored.config, stored.version, stored.is_remote)


def _require_small(override: Mapping[str, Any]) -> None:
    if len(json_text(override.get("config", {}))) > MAX_VALUE_BYTES:
        raise UnfitJobError(f"config is larger than {MAX_VALUE_BYTES:,} bytes: store the data and name its place")
