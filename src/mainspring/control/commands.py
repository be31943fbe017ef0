"""The commands of one application, made once for all its doors: the API, the dashboard, the terminal."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from mainspring.control.executions import ExecutionCommands
from mainspring.control.job_breakers import JobBreakerCommands
from mainspring.control.job_policies import JobPolicyCommands
from mainspring.control.jobs import JobCommands
from mainspring.control.pauses import PauseCommands
from mainspring.control.platform_jobs import PlatformJobCommands
from mainspring.control.replays import ReplayCommands
from mainspring.control.schedules import ScheduleCommands
from mainspring.control.service_jobs import ServiceCommands
from mainspring.egress.addresses import AllowList

if TYPE_CHECKING:
    from mainspring.jobs.registry import JobRegistry
    from mainspring.security.audit import Audit
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.upkeep.open_store import OpenStore
    from mainspring.world import World


class _Shared(TypedDict):
    database: Database
    signals: Signals
    environment: str
    audit: Audit


class Commands:
    """What people and programs may change, each kind of command made when it is first needed.

    Args:
        opened: The open store, and what wakes the nodes.
        registry: The jobs of the application.
        settings: The environment, and what callers may reach although it is not public.
        world: Ids and time.
        cipher: What secrets of payloads are kept in.
        audit: Permissions, and where the doings of actors are written.

    Example:
        >>> await app.commands(audit).schedules.disable(actor, "weekly-digest")  # doctest: +SKIP
    """

    def __init__(
        self,
        opened: OpenStore,
        registry: JobRegistry,
        *,
        settings: Settings,
        world: World,
        cipher: PayloadCipher,
        audit: Audit,
    ) -> None:
        self._shared: _Shared = {
            "database": opened.database,
            "signals": opened.signals,
            "environment": settings.environment,
            "audit": audit,
        }
        self._registry = registry
        self._may_reach = AllowList.read(settings.egress_allow)
        self._world = world
        self._cipher = cipher

    @cached_property
    def executions(self) -> ExecutionCommands:
        """Create, cancel, retry and await executions."""
        return ExecutionCommands(
            **self._shared,
            world=self._world,
            registry=self._registry,
            cipher=self._cipher,
            webhooks_may_reach=self._may_reach,
        )

    @cached_property
    def schedules(self) -> ScheduleCommands:
        """Enable, disable, pause and edit schedules."""
        return ScheduleCommands(**self._shared, world=self._world)

    @cached_property
    def jobs(self) -> JobCommands:
        """Trigger and run jobs by name, one or many."""
        return JobCommands(**self._shared, world=self._world, schedules=self.schedules, executions=self.executions)

    @cached_property
    def platform_jobs(self) -> PlatformJobCommands:
        """Trigger the jobs of `/admin/jobs`."""
        return PlatformJobCommands(**self._shared, world=self._world)

    @cached_property
    def services(self) -> ServiceCommands:
        """Register the jobs of other services."""
        return ServiceCommands(
            **self._shared,
            world=self._world,
            registry=self._registry,
            cipher=self._cipher,
            may_reach=self._may_reach,
        )

    @cached_property
    def policies(self) -> JobPolicyCommands:
        """Change thresholds, retries, timeout and configuration of jobs beside their code."""
        return JobPolicyCommands(**self._shared)

    @cached_property
    def breakers(self) -> JobBreakerCommands:
        """Hold jobs back by their breakers, and let them go."""
        return JobBreakerCommands(**self._shared)

    @cached_property
    def pauses(self) -> PauseCommands:
        """Pause all schedules, and resume them."""
        return PauseCommands(**self._shared, world=self._world)

    @cached_property
    def replays(self) -> ReplayCommands:
        """Run again what failed, after a fix."""
        return ReplayCommands(**self._shared, world=self._world)
