"""One suite, two databases: a test that takes `database` or `lab` runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from mainspring.domain.access import Scope
from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.store.coordination import cluster
from mainspring.store.engine.postgresql_database import PostgresqlDatabase
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.queue import claims, dependencies, enqueues, finishes, organization_limits
from mainspring.store.queue.claim_looks import ClaimLooks
from mainspring.store.runs import executions
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import fences, metadata
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld
from tests.node_role import node_url
from tests.store import lock_places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Database
    from mainspring.store.queue.claims import ClaimedExecution
    from mainspring.store.queue.enqueues import NewExecution
    from tests.store.audit_trail import Trail
    from tests.store.clockwork import Clockwork
    from tests.store.lock_places import Place
    from tests.valkey import Valkey


@dataclass(slots=True)
class StoreClock:
    """The store's clock, which a test moves instead of waiting."""

    shift: float = 0.0

    def __call__(self) -> float:
        """Return the seconds by which it is shifted."""
        return self.shift

    def advance(self, seconds: float) -> None:
        """Let time pass in the store."""
        self.shift += seconds


@pytest.fixture
def clock() -> StoreClock:
    """The store's clock."""
    return StoreClock()


@pytest.fixture
def world() -> RealWorld:
    """Ids, chance and threads of the real machine."""
    return RealWorld()


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_postgresql_url(new_postgresql_url: Callable[[str], str]) -> str:
    """A database of this worker with the present schema; its tests empty it."""
    return new_postgresql_url("suite")


@pytest.fixture(scope="session")
def emptier(migrated_postgresql_url: str) -> Iterator[psycopg.Connection]:
    """A connection that empties the store.

    It lives as long as the tests, and so do its plans: a new connection has to make one for each table, which takes
    longer than most tests.
    """
    # Deleting from empty tables is ten times quicker than truncating them.
    step = SQL("if exists (select from {0}) then delete from {0}; end if;")
    tables = (Identifier("mainspring", table.name) for table in reversed(metadata.sorted_tables) if table is not fences)
    steps = SQL(" ").join(step.format(table) for table in tables)
    with psycopg.connect(migrated_postgresql_url, autocommit=True) as connection:
        connection.execute(SQL("create procedure empty_store() language plpgsql as $$ begin {} end $$").format(steps))
        yield connection


@pytest.fixture
async def postgresql_owner(
    migrated_postgresql_url: str, world: RealWorld, clock: StoreClock
) -> AsyncIterator[Database]:
    """The same store, for the owner of the schema."""
    database = _postgresql(migrated_postgresql_url, world, clock)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def postgresql(
    migrated_postgresql_url: str, emptier: psycopg.Connection, world: RealWorld, clock: StoreClock
) -> AsyncIterator[Database]:
    """An open and empty store on PostgreSQL, for a role that can neither change tables nor what the audit holds."""
    emptier.execute("call empty_store()")
    database = _postgresql(node_url(migrated_postgresql_url), world, clock)
    await database.open()
    yield database
    await database.close()


def _postgresql(url: str, world: RealWorld, clock: StoreClock) -> PostgresqlDatabase:
    return PostgresqlDatabase(url, schema="mainspring", world=world, clock_shift=clock)


# ---- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the present schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"

    async def make() -> None:
        database = _sqlite(path, RealWorld(), StoreClock())
        await database.open()
        await schema.upgrade(database)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
async def sqlite(
    migrated_sqlite_file: Path, tmp_path: Path, world: RealWorld, clock: StoreClock
) -> AsyncIterator[Database]:
    """An open and empty store in an SQLite file."""
    path = Path(shutil.copy(migrated_sqlite_file, tmp_path / "store.db"))
    database = _sqlite(path, world, clock)
    await database.open()
    yield database
    await database.close()


def _sqlite(path: Path, world: RealWorld, clock: StoreClock) -> SqliteDatabase:
    return SqliteDatabase(f"sqlite:///{path}", schema="mainspring", world=world, clock_shift=clock)


# ---- Both -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """An open and empty store: the test runs once on each database."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def owned(request: pytest.FixtureRequest, database: Database) -> Database:
    """The same store for whoever owns its tables, and may do everything to them."""
    return request.getfixturevalue("postgresql_owner") if database.dialect_name == "postgresql" else database


@dataclass(slots=True)
class Lab:
    """The store as its callers use it, with defaults for what a test does not mind. Each call is one transaction."""

    database: Database
    world: RealWorld
    node_id: UUID = field(init=False)
    environment: str = "test"
    cursors: dict[str, claims.QueueCursor] = field(default_factory=dict[str, claims.QueueCursor])

    def __post_init__(self) -> None:
        """Give it a node."""
        self.node_id = self.world.new_id()

    @property
    def firing(self) -> Firing:
        """Who fires schedules in this test."""
        return Firing.by(self.world, self.environment, self.node_id)

    def new(self, **fields: Any) -> NewExecution:
        """Return a request for an execution."""
        defaults: dict[str, Any] = {
            "id": self.world.new_id(),
            "environment": self.environment,
            "queue": "default",
            "job_name": "job",
            "trigger": Trigger.API,
        }
        return enqueues.NewExecution(**defaults | fields)

    async def enqueue(self, *new: NewExecution) -> list[UUID]:
        """Accept executions, with the rows that their organizations need."""
        names = {item.organization_id for item in new if item.organization_id is not None}
        if names:
            await self.database.tx(lambda connection: organization_limits.ensure(connection, self.environment, names))
        return await self.database.tx(lambda connection: enqueues.insert(connection, new))

    async def enqueue_one(self, **fields: Any) -> UUID:
        """Accept one execution and return its id."""
        return (await self.enqueue(self.new(**fields)))[0]

    async def claim(
        self,
        slots: int = 100,
        *,
        node_id: UUID | None = None,
        names: Sequence[str] = ("job",),
        queues: Sequence[str] = ("default",),
        environment: str | None = None,
        organization_limit: int = 5,
    ) -> list[ClaimedExecution]:
        """Claim for one node as a worker does, with cursors that are kept between calls."""
        request = claims.ClaimRequest(
            environment=environment or self.environment,
            node_id=node_id or self.node_id,
            names=names,
            cursors=[self.cursors.setdefault(queue, claims.QueueCursor(queue)) for queue in queues],
            organization_limit=organization_limit,
        )

        def claim(connection: sa.Connection) -> list[ClaimedExecution]:
            seen = ClaimLooks(request.environment, queues).look(connection, request.node_id)
            return claims.claim(connection, request, slots, seen)

        return await self.database.tx(claim)

    async def claim_one(self, **options: Any) -> ClaimedExecution:
        """Claim the one execution that is ready."""
        (claimed,) = await self.claim(**options)
        return claimed

    async def promote(self, most: int = 500) -> float | None:
        """Make due executions ready, as a worker does it."""
        due_in = await self.database.tx(lambda connection: claims.promote_due(connection, most))
        if due_in == 0.0:
            await self.database.tx(dependencies.tie)
        return due_in

    def end(self, claimed: ClaimedExecution, status: Status = Status.SUCCEEDED, **said: Any) -> finishes.Finish:
        """Return the end of a claimed execution."""
        outcome = Outcome(status) if status in set(Outcome) else Outcome.FAILED
        defaults: dict[str, Any] = {"outcome": outcome, "duration_ms": 1, "limit_key": claimed.limit_key}
        return finishes.Finish(
            id=claimed.id, fence=claimed.fence, job_name=claimed.job_name, status=status, **defaults | said
        )

    async def finish(self, *ends: finishes.Finish) -> set[UUID]:
        """Write ends and return the ids that were not fenced off."""
        return await self.database.tx(lambda connection: finishes.finish(connection, self.environment, ends))

    async def succeed(self, *claimed: ClaimedExecution) -> set[UUID]:
        """Finish executions with success."""
        return await self.finish(*(self.end(item) for item in claimed))

    async def fail(self, claimed: ClaimedExecution, **said: Any) -> set[UUID]:
        """Finish an execution with failure."""
        return await self.finish(self.end(claimed, Status.FAILED, **said))

    def back(self, claimed: ClaimedExecution, outcome: Outcome = Outcome.FAILED, **said: Any) -> finishes.Release:
        """Return what gives a claimed execution back."""
        defaults: dict[str, Any] = {"wait_seconds": 0.0, "retrying": True, "limit_key": claimed.limit_key}
        return finishes.Release(id=claimed.id, fence=claimed.fence, outcome=outcome, **defaults | said)

    async def release(self, claimed: ClaimedExecution, outcome: Outcome = Outcome.FAILED, **said: Any) -> set[UUID]:
        """Give an execution back whose attempt has ended."""
        item = self.back(claimed, outcome, **said)
        return await self.database.tx(lambda connection: finishes.release(connection, self.environment, [item]))

    async def find(self, execution_id: UUID, scope: Scope | None = None) -> Execution | None:
        """Return an execution if the scope sees it."""
        seen_by = scope or Scope(self.environment)
        return await self.database.read(lambda connection: executions.get(connection, seen_by, execution_id))

    async def get(self, execution_id: UUID) -> Execution:
        """Return an execution that exists."""
        execution = await self.find(execution_id)
        assert execution is not None
        return execution

    async def status(self, execution_id: UUID) -> Status:
        """Return the public status of an execution."""
        return (await self.get(execution_id)).status

    async def register_node(self, *, lease_seconds: float = 15.0, host: str = "host", name: str = "node") -> UUID:
        """Enter a node and return its id."""
        entry = cluster.NodeEntry(
            id=self.world.new_id(),
            environment=self.environment,
            name=name,
            host=host,
            pid=1,
            roles=("worker",),
            version="0",
            slots=10,
        )
        await self.database.tx(lambda connection: cluster.register(connection, entry, lease_seconds=lease_seconds))
        return entry.id

    async def scalar(self, statement: sa.Select[Any]) -> Any:
        """Return the one value of a query."""
        return await self.database.tx(lambda connection: connection.execute(statement).scalar())


@pytest.fixture
def lab_on(world: RealWorld) -> Callable[[Database], Lab]:
    """The calls of the store on a database of the test's choice."""
    return lambda database: Lab(database, world)


@pytest.fixture
def lab(database: Database, world: RealWorld) -> Lab:
    """The calls of the store on an empty database: the test runs once on each database."""
    return Lab(database, world)


@pytest.fixture
def clockwork(lab: Lab, clock: StoreClock) -> Clockwork:
    """A store with schedules, whose clock the test moves."""
    from tests.store.clockwork import Clockwork

    return Clockwork(lab, clock)


@pytest.fixture
def trail(database: Database, owned: Database, world: RealWorld) -> Trail:
    """The audit of a test, on either database."""
    from tests.store.audit_trail import Trail

    return Trail(database, owned, world)


# ---- Where locks are written down -----------------------------------------------------------------------------------


@pytest.fixture
def locks_in_sqlite(sqlite: Database, clock: StoreClock) -> Place:
    """Locks in an SQLite file."""
    return lock_places.in_store(sqlite, clock)


@pytest.fixture
def locks_in_postgresql(postgresql: Database, clock: StoreClock) -> Place:
    """Locks in PostgreSQL."""
    return lock_places.in_store(postgresql, clock)


@pytest.fixture
def locks_on_valkey(valkey: Valkey) -> Place:
    """Locks on Valkey alone."""
    return lock_places.on_valkey(valkey)


@pytest.fixture
def locks_before_sqlite(locks_on_valkey: Place, locks_in_sqlite: Place, world: RealWorld) -> Place:
    """Locks on Valkey that SQLite decides about."""
    return lock_places.before(locks_on_valkey, locks_in_sqlite, world)


@pytest.fixture(params=["in_sqlite", "in_postgresql", "on_valkey", "before_sqlite"])
def place(request: pytest.FixtureRequest) -> Place:
    """Wherever locks are written down: the test runs once for each."""
    return request.getfixturevalue(f"locks_{request.param}")
