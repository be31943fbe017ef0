"""One node: its loops and what they share, made in one place, started in order and stopped in order."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from mainspring.domain.job import ExecutorKind
from mainspring.domain.slots import LOOK_SECONDS as SLOT_SECONDS
from mainspring.domain.slots import SlotBounds
from mainspring.errors import StoreError
from mainspring.observability.metrics import Metrics
from mainspring.runtime.acknowledgements import Acknowledgements
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.runtime.cluster_entry import ClusterEntry
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.error_tracking import ErrorTracking
from mainspring.runtime.export_expiry import EXPIRY_SECONDS, ExportExpiry
from mainspring.runtime.local_executor import AsyncExecutor, Executor, ThreadExecutor
from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
from mainspring.runtime.maintenance import HOUSEKEEPING_SECONDS, Maintenance
from mainspring.runtime.monitor_role import MonitorRole
from mainspring.runtime.node_loops import NodeLoops
from mainspring.runtime.overdue_work import OVERDUE_SECONDS, OverdueWork
from mainspring.runtime.policies_in_force import POLICY_SECONDS, PoliciesInForce
from mainspring.runtime.remote_jobs import REFRESH_SECONDS
from mainspring.runtime.remote_work import RemoteWork
from mainspring.runtime.replaying import LOOK_SECONDS as REPLAY_SECONDS
from mainspring.runtime.replaying import Replaying
from mainspring.runtime.running_attempts import WATCH_SECONDS
from mainspring.runtime.scheduler import Scheduler
from mainspring.runtime.sealing import SEAL_SECONDS, Sealing
from mainspring.runtime.slots import NodeSlots
from mainspring.runtime.worker import Worker
from mainspring.security.payload_cipher import PayloadCipher
from mainspring.store.engine.signals import ATTEMPTS, SERVICES, TOLD, WORK
from mainspring.store.queue.finishes import Finish
from mainspring.store.recovery.replays import REPLAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from mainspring.jobs.job_run import Harness
    from mainspring.jobs.registry import JobRegistry
    from mainspring.observability.sentry import Sentry
    from mainspring.reports.storage import ExportStorage
    from mainspring.runtime.early_fork import ForkedServer
    from mainspring.runtime.loop import Loop
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database, Lane
    from mainspring.store.engine.signals import Signals, Wakeup
    from mainspring.store.queue.finishes import Release
    from mainspring.world import World

_logger = logging.getLogger(__name__)

ROLES: Final = ("api", "worker", "scheduler", "monitor")
LOG_AND_PROGRESS_SECONDS: Final = 0.25


class Node:
    """One process of the cluster, or one of several in a test.

    Args:
        settings: Sizes and intervals.
        database: The store, open and of the right version.
        registry: The jobs that this program can run.
        signals: What wakes the loops of this process.
        harness: What wraps every run.
        world: Time, chance, threads and tasks.
        roles: What it does: any of `ROLES`. The chores of the cluster are everybody's.
        app_path: Where a child process finds the application, `package.module:attribute`.
        metrics: What it counts.
        cipher: What secrets of payloads are kept in.
        exports: Where export files lie, of which old ones are removed.
        sentry: Where failures are told, if anywhere.
        api_url: Returns where the API of this process answers, to which services report; None: it has none.
        forked: What forks its child processes, where this process could be forked before it had threads.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        registry: JobRegistry,
        signals: Signals,
        harness: Harness,
        world: World,
        roles: Sequence[str] = ROLES,
        app_path: str | None = None,
        metrics: Metrics | None = None,
        cipher: PayloadCipher | None = None,
        exports: ExportStorage | None = None,
        sentry: Sentry | None = None,
        api_url: Callable[[], str | None] = lambda: None,
        forked: ForkedServer | None = None,
    ) -> None:
        self._settings = settings
        self._exports = exports
        self._cipher = cipher or PayloadCipher.of(settings, world)
        self._database = database
        self._registry = registry
        self._signals = signals
        self._harness = harness
        self._world = world
        self._roles = tuple(roles)
        self._slots = NodeSlots(
            {
                ExecutorKind.ASYNC: settings.concurrency,
                ExecutorKind.THREAD: settings.threads,
                ExecutorKind.PROCESS: SlotBounds.read(os.cpu_count() or 1),
                ExecutorKind.REMOTE: SlotBounds.read(settings.concurrency.upper),
            },
            shown=ExecutorKind.ASYNC,
            world=world,
            on_growth=lambda: signals.arrived(WORK),
        )
        self._entry = ClusterEntry(settings, database, roles, world, self._lose_lease, occupancy=self._slots.occupancy)
        self._metrics = metrics or Metrics()
        self._sentry = sentry
        self._tracking = ErrorTracking(sentry, database, settings.environment) if sentry is not None else None
        self._loops = NodeLoops(world)
        self._lanes: list[Lane] = []
        self._worker: Worker | None = None
        self._scheduler: Scheduler | None = None
        self._conditions = Conditions(registry, world)
        self._monitor_role: MonitorRole | None = None
        self._sealing = Sealing(database, settings, world)
        self._stopping = False
        self._threads = ThreadExecutor(world, size=settings.threads.upper)
        self._executors: dict[ExecutorKind, Executor] = {
            ExecutorKind.ASYNC: AsyncExecutor(),
            ExecutorKind.THREAD: self._threads,
        }
        self._remote = RemoteWork(database, signals, settings, world=world, metrics=self._metrics, api_url=api_url)
        self._executors[ExecutorKind.REMOTE] = self._remote.executor
        self._child_processes = ChildProcessExecutor(world, app_path, forked=forked) if app_path is not None else None
        if self._child_processes is not None:
            self._executors[ExecutorKind.PROCESS] = self._child_processes

    @property
    def id(self) -> UUID:
        """The id of its present entry; a node that lost its lease goes on under a new one."""
        return self._entry.id

    @property
    def loops(self) -> Sequence[Loop]:
        """Its loops, for health and tests."""
        return tuple(self._loops)

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return self._worker.running if self._worker else 0

    @property
    def slots(self) -> NodeSlots:
        """How many attempts it may run at once, and how many it does."""
        return self._slots

    @property
    def clock_skew(self) -> float:
        """Seconds by which its wall clock is ahead of the store's, as its last heartbeat saw."""
        return self._entry.clock_skew

    async def start(self) -> None:
        """Enter the node, begin to beat, and start the loops.

        Raises:
            IntegrityError: The SQLite file is in use by another host.
        """
        await self._entry.enter()
        if "worker" in self._roles and len(self._registry):
            self._worker = await self._make_worker()
            self._worker.begin(self.id)
        if "scheduler" in self._roles:
            await self._start_scheduler()
        if "monitor" in self._roles:
            self._monitor_role = MonitorRole(
                self._database, self._signals, self._settings, node_id=lambda: self.id, world=self._world
            )
            self._monitor_role.begin(self._loops)
        maintenance = Maintenance(
            self._database,
            self._signals,
            environment=self._settings.environment,
            retention_age=self._settings.retention,
            metrics=self._metrics,
            tracking=self._tracking,
        )
        self._loops.begin("rescue", maintenance.rescue, interval=min(1.0, self._settings.lease.total_seconds() / 5))
        self._loops.begin("housekeeping", maintenance.clean, interval=HOUSEKEEPING_SECONDS)
        self._loops.begin("seal", self._sealing.run_once, interval=SEAL_SECONDS)
        overdue = OverdueWork(self._database, self._signals, self._metrics, self._world, self._sentry)
        self._loops.begin("overdue", overdue.run_once, interval=OVERDUE_SECONDS, is_idle=self._knows_no_service)
        # Files are as old as the machine says: a simulated clock that runs ahead would remove what is still wanted.
        if self._exports is not None and not self._world.simulated:
            expiry = ExportExpiry(self._exports, lifetime=self._settings.export_lifetime, world=self._world)
            self._loops.begin("export-expiry", expiry.run_once, interval=EXPIRY_SECONDS)

    async def _start_scheduler(self) -> None:
        scheduler = self._scheduler = Scheduler(
            database=self._database,
            signals=self._signals,
            registry=self._registry,
            conditions=self._conditions,
            environment=self._settings.environment,
            world=self._world,
            metrics=self._metrics,
        )
        scheduler.begin(self.id)
        await scheduler.start_up()
        self._loops.begin("scheduler", scheduler.run_once, interval=self._settings.poll.total_seconds())
        replaying = Replaying(self._database, self._signals, self._settings.environment, self._world)
        begun = self._signals.wakeup(REPLAYS)
        self._loops.begin("replays", replaying.run_once, interval=REPLAY_SECONDS, wakeup=begun)

    async def stop(self, grace: float) -> None:
        """Stop in order: no new claims, running work gets `grace` seconds, the rest goes back, the heartbeat last.

        Args:
            grace: Seconds; 0 hands back at once.
        """
        self._stopping = True
        self._entry.stay_out()
        if self._worker is not None:
            await self._worker.stop(grace)
        await self._loops.stop()
        if self._monitor_role is not None:
            await self._monitor_role.stop()
        await self._end_sealing()
        await self._entry.leave()
        for lane in self._lanes:
            await lane.close()
        self._remote.close()
        self._conditions.close()
        self._threads.close()
        if self._child_processes is not None:
            await self._child_processes.close()

    def hand_back(self) -> None:
        """Tell running work to stop now, whatever grace it was given; it goes back as interrupted."""
        if self._worker is not None:
            self._worker.hand_back()

    async def _make_worker(self) -> Worker:
        settings = self._settings
        sink = LogAndProgressSink(self._database, self._world, self._cipher, self._signals)
        acknowledgements = Acknowledgements(
            await self._lane("finish"),
            sink,
            environment=settings.environment,
            world=self._world,
            on_written=self._written,
            batch=settings.concurrency.batch,
        )
        wakeup = self._signals.wakeup(WORK)
        await self._remote.jobs.refresh()
        policies = PoliciesInForce(self._registry, self._database, settings.environment)
        await policies.refresh()
        worker = Worker(
            database=self._database,
            lane=await self._lane("claim"),
            registry=self._registry,
            executors=self._executors,
            slots=self._slots,
            queues=settings.queues or sorted({job.definition.queue for job in self._registry}),
            acknowledgements=acknowledgements,
            sink=sink,
            harness=self._harness,
            conditions=self._conditions,
            wakeup=wakeup,
            on_start=lambda: self._signals.arrived(ATTEMPTS),
            environment=settings.environment,
            node_name=settings.node,
            organization_limit=settings.org_concurrency,
            world=self._world,
            cipher=self._cipher,
            remote=self._remote.claims,
            tracking=self._tracking,
            policies=policies,
        )
        self._begin_worker_loops(worker, wakeup, sink, policies)
        return worker

    def _begin_worker_loops(
        self, worker: Worker, wakeup: Wakeup, sink: LogAndProgressSink, policies: PoliciesInForce
    ) -> None:
        changed = self._signals.wakeup(SERVICES)
        self._loops.begin("policies", policies.refresh, interval=POLICY_SECONDS, wakeup=changed)
        registered = self._signals.wakeup(SERVICES)
        self._loops.begin("services", self._remote.jobs.refresh, interval=REFRESH_SECONDS, wakeup=registered)
        if self._slots.are_adaptive:
            self._loops.begin("slots", self._slots.run_once, interval=SLOT_SECONDS)
        self._loops.begin("worker", worker.run_once, interval=self._settings.poll.total_seconds(), wakeup=wakeup)
        for name, run_once, interval in (
            ("log-and-progress", sink.run_once, LOG_AND_PROGRESS_SECONDS),
            ("watch", worker.watch, WATCH_SECONDS),
        ):
            attempts = self._signals.wakeup(ATTEMPTS)
            self._loops.begin(name, run_once, interval=interval, wakeup=attempts, is_idle=lambda: not worker.running)

    def _knows_no_service(self) -> bool:
        return not self._remote.jobs.names

    async def _lane(self, purpose: str) -> Lane:
        lane = await self._database.lane(purpose)
        self._lanes.append(lane)
        return lane

    def _written(self, written: Iterable[Finish | Release], fenced: Iterable[Finish | Release]) -> None:
        self._signals.ended(end.id for end in written)
        for end in written:
            if isinstance(end, Finish):
                self._metrics.execution_ended(end.job_name, end.outcome, end.duration_ms / 1000)
        if self._tracking is not None:
            self._tracking.written(written)
            self._tracking.refused(fenced)
        self._signals.arrived(TOLD)  # other processes look for themselves: a busy node would tell them too often
        for end in fenced:
            self._metrics.fenced_writes += 1
            _logger.warning("execution %s: the end was refused, because another attempt holds it now", end.id)

    def _lose_lease(self) -> None:
        self._metrics.leases_lost += 1
        if self._tracking is not None:
            self._tracking.forget()
        if self._worker is not None:
            self._worker.lose_lease()
        if not self._stopping:
            self._loops.spawn(self._enter_anew(), name="enter-anew")

    async def _enter_anew(self) -> None:
        """Go on as a new node: the store rescues what the old one ran, and nothing of it is written here."""
        if not await self._entry.enter_anew():
            return
        if self._scheduler is not None:
            self._scheduler.begin(self.id)
        if self._worker is not None and not self._stopping:
            self._worker.begin(self.id)
            self._signals.arrived(WORK)

    async def _end_sealing(self) -> None:
        try:
            await self._sealing.stop()
        except StoreError as error:
            _logger.warning("the last entries of the audit wait for their seal from another node (%s)", error)
