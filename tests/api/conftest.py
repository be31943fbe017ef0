"""An application behind its HTTP door, and clients of several people."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pydantic import BaseModel

from mainspring import Cron, JobContext, Mainspring
from mainspring.api.app import create_api
from mainspring.control.access import AccessChanges
from mainspring.domain.access import Actor, Permission, Role, Scope
from mainspring.store.jobs import registration
from mainspring.store.scheduling.firing import Firing
from tests.api.documented import DocumentedTransport
from tests.audited_things import audit_trail

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
    from pathlib import Path

    from fastapi import FastAPI

    from mainspring.api.services import Services
    from mainspring.store.auditing.audit_entries import AuditEntry

for deferred in ("mainspring.api.doors", "mainspring.web.app"):
    import_module(deferred)  # before the clock of any request runs

SECRET_KEY = "the secret key of the tests, 32 bytes"


class Parcel(BaseModel):
    """The payload of a job with a type of its own."""

    weight: int


@dataclass(slots=True)
class Door:
    """An application that is served, and who knocks."""

    app: Mainspring
    api: FastAPI
    clients: AsyncExitStack

    @property
    def services(self) -> Services:
        """What the routes work with."""
        return self.api.state.services

    def token(
        self,
        user: str = "ada",
        role: Role = Role.MEMBER,
        organization: str | None = "acme",
        permissions: Collection[Permission] = (),
    ) -> str:
        """Return a token that holds."""
        return self.services.identity.tokens.create(
            user, role=role, organization_id=organization, permissions=permissions
        )

    async def revoke_tokens_of(self, user: str) -> None:
        """Revoke all tokens that a user has at present."""
        audit = self.services.audit
        changes = AccessChanges(self.services.database, audit, forget=self.services.identity.forget)
        await changes.revoke_tokens_of(Actor.at_terminal(self.app.settings.environment, "root"), user)

    async def client(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """Return a client that sends a token, or none."""
        transport = DocumentedTransport(self.api)
        given = headers if token is None else {"Authorization": f"Bearer {token}", **headers}
        client = httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=given)
        return await self.clients.enter_async_context(client)

    async def create(self, client: httpx2.AsyncClient, **body: Any) -> str:
        """Create a job and return its id."""
        answer = await client.post("/v1/jobs", json={"jobType": "greet"} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()["jobId"]

    async def register_jobs(self) -> None:
        """Keep what the application declares, as a node does when it starts."""
        firing = Firing.by(self.app.world, self.app.settings.environment)
        await self.services.database.tx(
            lambda connection: registration.register(connection, firing, self.app.registry, version="1.0")
        )

    async def audit(self, target: str) -> list[AuditEntry]:
        """Return the audit entries about one thing, the newest first."""
        scope = Scope(self.app.settings.environment)
        found = await self.services.database.read(lambda connection: audit_trail(connection, scope, target_id=target))
        return [entry for entry, _mac in found]


def declare_jobs(app: Mainspring) -> None:
    """Declare the jobs that tests ask for."""

    @app.job("greet", on_demand=True)
    async def _greet(ctx: JobContext[Any]) -> dict[str, str]:
        return {"hello": "world"}

    @app.job("ship", on_demand=True, sensitive=["address"], allow_money=["price"])
    async def _ship(ctx: JobContext[Any], payload: dict[str, Any]) -> None: ...

    @app.job("weigh", on_demand=True)
    async def _weigh(ctx: JobContext[Any], payload: Parcel) -> None: ...

    @app.job("sweep")
    async def _sweep(ctx: JobContext[Any]) -> None: ...

    @app.job("nightly", schedule=Cron("0 9 * * MON", tz="Europe/Rome"), group="mail", job_type="email")
    async def _nightly(ctx: JobContext[Any]) -> None:
        """Send what nobody reads."""


@asynccontextmanager
async def opened(app: Mainspring, **options: Any) -> AsyncGenerator[Door]:
    """Serve an application for as long as the block lasts."""
    api = create_api(app, **options)
    async with AsyncExitStack() as clients, api.router.lifespan_context(api):
        yield Door(app, api, clients)


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the present schema, to be copied."""
    path = tmp_path_factory.mktemp("store") / "store.db"

    async def make() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(make())
    return path


@pytest.fixture
def app(tmp_path: Path, migrated_store: Path) -> Mainspring:
    """An application on an SQLite file of its own; nobody runs its jobs."""
    shutil.copy(migrated_store, tmp_path / "store.db")
    app = Mainspring(
        database_url=f"sqlite:///{tmp_path}/store.db", secret_key=SECRET_KEY, export_dir=tmp_path / "exports"
    )
    declare_jobs(app)
    return app


@pytest.fixture
async def door(app: Mainspring) -> AsyncIterator[Door]:
    """The application, served on this machine."""
    async with opened(app) as door:
        yield door


@pytest.fixture
async def ada(door: Door) -> httpx2.AsyncClient:
    """A member of the organization acme."""
    return await door.client(door.token("ada"))


@pytest.fixture
def open_door() -> Callable[..., Any]:
    """Serve another application, or the same one otherwise."""
    return opened
