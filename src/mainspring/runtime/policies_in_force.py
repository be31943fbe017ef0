"""How this node runs its jobs: as their code says, save where admins have put something else in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mainspring.runtime.loop import Turn
from mainspring.store.jobs import policies
from mainspring.store.jobs.stored_policy import retry_of, timeout_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.store.engine.database import Database

POLICY_SECONDS: Final = 300.0
"""Between two looks where nobody tells that something was changed: every change is signalled."""


class PoliciesInForce:
    """The registered jobs with the retries, the timeout and the configuration that admins gave them.

    Attempts that run go on as they began.

    Args:
        registry: What code says.
        database: Where admins say otherwise.
        environment: The node's environment.
    """

    def __init__(self, registry: JobRegistry, database: Database, environment: str) -> None:
        self._registry = registry
        self._database = database
        self._environment = environment
        self._overrides: Mapping[str, Mapping[str, Any]] = {}
        self._changed: dict[str, RegisteredJob] = {}

    def get(self, name: str) -> RegisteredJob:
        """Return a job as it is to be run.

        Raises:
            JobNotFoundError: There is none of that name.
        """
        return self._changed.get(name) or self._registry.get(name)

    async def refresh(self) -> Turn:
        """Look what admins have changed."""
        overrides = await self._database.read(lambda connection: policies.overridden(connection, self._environment))
        if overrides == self._overrides:
            return Turn()
        self._changed = {
            name: _overridden(self._registry.get(name), override)
            for name, override in overrides.items()
            if name in self._registry
        }
        self._overrides = overrides
        return Turn(did=len(self._changed))


def _overridden(job: RegisteredJob, override: Mapping[str, Any]) -> RegisteredJob:
    definition = job.definition
    changes: dict[str, Any] = {}
    if "timeout" in override:
        changes["timeout"] = timeout_of(override)
    if "retry" in override:
        changes["retry"] = retry_of(override)
    if "config" in override:
        changes["config"] = {**definition.config, **override["config"]}
    return replace(job, definition=replace(definition, **changes))
