"""A cluster in virtual time: nodes that crash, stop and start again, clients that ask, and a storm that ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.control.executions import ExecutionCommands
from mainspring.domain.access import Actor
from mainspring.domain.slots import SlotBounds
from mainspring.errors import MainspringError
from mainspring.security.payload_cipher import PayloadCipher
from mainspring.security.secret_key import SecretKey
from mainspring.settings import Settings
from mainspring.store.engine.signals import Signals
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.upkeep import schema
from mainspring.testing.simulation.link import Link, Weather
from mainspring.testing.simulation.process import Grapevine, Process
from mainspring.testing.simulation.witness import Trace, Witness
from mainspring.testing.simulation.workload import DEFINITIONS, Workload, script
from mainspring.testing.simulation.world import Chance, ProcessDied, SimulatedWorld

if TYPE_CHECKING:
    from uuid import UUID

ENVIRONMENT: Final = "simulation"
_ORGANIZATIONS: Final = ("amber", "birch", "cedar")
_CRASH_CHANCE: Final = 0.01
_ISOLATED_STOP: Final = 0.3
"""How likely a node is cut off at the very moment that it stops."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a simulation is.

    Attributes:
        nodes: How many nodes run at once, at least 1.
        executions: How many executions are asked for.
        storm: Seconds for which things go wrong.
        calm: Seconds after which everything must have ended once nothing goes wrong any more.
        organization_limit: Executions of one organization that run at once.
        concurrency: Executions that one node runs at once.
    """

    nodes: int = 2
    executions: int = 40
    storm: float = 40.0
    calm: float = 240.0
    organization_limit: int = 2
    concurrency: int = 6


class Cluster:
    """One simulated cluster, for one run.

    Args:
        seed: What everything follows from.
        plan: How large it is.
        trace: Where everything that happens is added.

    Attributes:
        accepted: The executions that clients were told of.
        crashes: How many processes died.
        stops: How many stopped in good order.
        stopped_nodes: The ids of those that surely kept their lease to the last, and so left nothing behind.
        seconds: How much virtual time it took.
        store_clock_jumped: Whether the store's clock was shifted, so that leases may have ended early.
    """

    def __init__(self, seed: int, plan: Plan, trace: Trace) -> None:
        self._seed = seed
        self._plan = plan
        self._trace = trace
        self._chance = Chance(seed)
        self._weather = Weather(self._fork("weather"))
        self._world = SimulatedWorld(self._fork("driver"), on_task_error=self._note_task_error)
        self._grapevine = Grapevine(self._weather)
        self._store_shift = 0.0
        self._store = SqliteDatabase(
            "sqlite://", schema="mainspring", world=self._world, clock_shift=lambda: self._store_shift
        )
        self._processes: dict[str, Process] = {}
        self._over = False
        self.witness: Witness
        self.accepted: list[UUID] = []
        self.crashes = 0
        self.stops = 0
        self.stopped_nodes: set[str] = set()
        self.seconds = 0.0
        self.store_clock_jumped = False

    @property
    def store(self) -> SqliteDatabase:
        """The shared store."""
        return self._store

    async def run(self) -> None:
        """Run the storm and the calm after it, until every execution has ended or the calm is over."""
        await self._store.open()
        await schema.upgrade(self._store)
        self.witness = Witness(self._store, self._world.monotonic, self._trace)
        asyncio.get_running_loop().set_exception_handler(self._note_loop_error)
        lives = [self._world.spawn(self._live(f"node-{number}"), name="life") for number in range(self._plan.nodes)]
        clients = [self._world.spawn(work, name="client") for work in (self._ask(), self._meddle())]
        await self._world.sleep(self._plan.storm)
        self._weather.storm = False
        await asyncio.wait(clients)
        until = self._world.monotonic() + self._plan.calm
        while self.witness.live_count() and self._world.monotonic() < until:
            await self._world.sleep(0.5)
        self._over = True
        await asyncio.wait(lives)
        self.seconds = self._world.monotonic()

    def _fork(self, name: str) -> Chance:
        return Chance(f"{self._seed}/{name}")

    def _note_task_error(self, name: str, error: BaseException) -> None:
        self.witness.trouble(f"task {name} ended with {type(error).__name__}: {error}")

    def _note_loop_error(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.witness.trouble(f"{context['message']}: {error!r}")

    # Nodes ----------------------------------------------------------------------------------------------------------

    async def _live(self, name: str) -> None:
        """Let one node live again and again: each time it runs for a while, then it dies or stops."""
        chance = self._fork(name)
        life = 0
        while not self._over:
            life += 1
            process = self._processes[name] = self._make_process(name, life)
            await process.start()
            await self._outlast(process, chance)
            await self._end(name, process, chance)
            if not self._over:
                await self._world.sleep(chance.uniform(0.1, 4.0))

    def _make_process(self, name: str, life: int) -> Process:
        world = SimulatedWorld(
            self._fork(f"{name}/{life}"),
            crash_chance=lambda: _CRASH_CHANCE if self._weather.storm else 0.0,
            on_task_error=self._note_task_error,
        )
        settings = Settings(
            database_url="sqlite://",
            environment=ENVIRONMENT,
            node=name,
            lease=timedelta(seconds=5),
            heartbeat=timedelta(seconds=1),
            concurrency=SlotBounds.read(self._plan.concurrency),
            org_concurrency=self._plan.organization_limit,
        )
        return Process(
            settings=settings,
            store=self._store,
            world=world,
            weather=self._weather,
            grapevine=self._grapevine,
            witness=self.witness,
        )

    async def _outlast(self, process: Process, chance: Chance) -> None:
        """Wait until it has died, its time has come, or the simulation is over."""
        until = self._world.monotonic() + chance.expovariate(1 / 12)
        while not process.world.dead and not self._over:
            if self._weather.storm and self._world.monotonic() > until:
                break
            await self._world.sleep(0.1)

    async def _end(self, name: str, process: Process, chance: Chance) -> None:
        gracefully = self._over or chance.random() < 0.4  # noqa: PLR2004 - most end by a crash
        if not process.world.dead and gracefully:
            self._trace.add(f"{name} stops")
            if self._weather.strikes(_ISOLATED_STOP):
                process.link.isolate(chance.uniform(0.5, 12.0))
            await process.stop(chance.choice((0.0, 1.0, 20.0)))
            if not process.world.dead:
                self.stops += 1
                if not process.link.was_isolated and not self.store_clock_jumped:
                    self.stopped_nodes.add(process.node_id)
        elif not process.world.dead:
            process.world.die()
        self.crashes += process.world.dead
        left = process.end()
        if left and gracefully:
            self.witness.trouble(f"{name} has stopped and left the tasks {', '.join(left)}")
        self._trace.add(f"{name} is gone")

    # Clients --------------------------------------------------------------------------------------------------------

    def _commands(self) -> ExecutionCommands:
        signals = Signals(self._world)
        self._grapevine.join(signals)
        return ExecutionCommands(
            database=Link(self._store, self._world, self._weather),
            registry=Workload(self._world, self.witness, "client").registry(),
            signals=signals,
            world=self._world,
            environment=ENVIRONMENT,
            cipher=PayloadCipher(list[SecretKey]),  # its payloads hold no secret
        )

    async def _ask(self) -> None:
        """Ask for executions of all kinds, most of them early."""
        commands, chance = self._commands(), self._fork("asks")
        for _ in range(self._plan.executions):
            await self._world.sleep(chance.expovariate(2 * self._plan.executions / self._plan.storm))
            options = self._options(chance)
            payload = {"script": script(chance)}
            # What was not acknowledged may or may not exist; what was must.
            with suppress(MainspringError):
                self.accepted += await commands.enqueue(chance.choice(DEFINITIONS).name, [payload], **options)

    def _options(self, chance: Chance) -> Any:  # noqa: ANN401 - the options of `enqueue`, of which any may be missing
        options: dict[str, object] = {"priority": chance.randint(-2, 2)}
        if chance.random() < 0.5:  # noqa: PLR2004 - half of them belong to a tenant
            options["organization_id"] = chance.choice(_ORGANIZATIONS)
        match chance.randrange(10):
            case 0:
                options["delay"] = timedelta(seconds=chance.uniform(0, 10))
            case 1:
                options["unique_key"] = chance.choice("ab")
            case 2 | 3 if self.accepted:
                options["depends_on"] = chance.choices(self.accepted[-10:], k=2)
            case 4:
                options["idempotency_key"] = chance.choice("xyz")
            case 5:
                options["concurrency_key"] = chance.choice("kl")
            case _:
                pass
        return options

    async def _meddle(self) -> None:
        """Cancel, retry, isolate nodes and shift clocks for as long as the storm lasts."""
        commands, chance = self._commands(), self._fork("meddles")
        actor = Actor.application(ENVIRONMENT)
        jumps = chance.random() < 0.2  # noqa: PLR2004 - in one run of five
        while self._weather.storm:
            await self._world.sleep(chance.expovariate(1.0))
            target = chance.choice(self.accepted) if self.accepted else None
            name = f"node-{chance.randrange(self._plan.nodes)}"
            with suppress(MainspringError):
                match chance.randrange(8):
                    case 0 | 1 | 2 if target:
                        await commands.cancel(actor, target)
                    case 3 | 4 if target:
                        await commands.retry(actor, target)
                    case 5:
                        self._processes[name].link.isolate(chance.uniform(0.5, 12.0))
                    case 6:
                        self._processes[name].world.clock_shift = chance.uniform(-600, 600)
                    case 7 if jumps:
                        self._jump(chance.uniform(-20, 20))
                    case _:
                        pass

    def _jump(self, seconds: float) -> None:
        self.store_clock_jumped = True
        self.stopped_nodes.clear()
        self._store_shift += seconds
