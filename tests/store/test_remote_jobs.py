"""The mark by which nodes see that the jobs of services have changed, without reading them all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest

from mainspring.domain.job import JobDefinition
from mainspring.store.remote import remote_jobs, service_jobs, services

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.engine.database import Connection
    from mainspring.store.remote.remote_jobs import Mark
    from tests.store.conftest import Lab

DIGEST: Final = JobDefinition("digest")


@dataclass(slots=True)
class Mailer:
    """A service, and what a node knows of it."""

    lab: Lab
    key_id: UUID

    async def declare(self, definition: JobDefinition = DIGEST, *, url: str = "http://mailer") -> None:
        """Register a job."""

        def keep(connection: Connection) -> None:
            services.enter(connection, "test", "mailer", url)
            services.register(connection, "test", "mailer", url=url, key_id=self.key_id)
            service_jobs.declare(
                connection, self.lab.firing, definition, service_name="mailer", service_url=url, code_version=None
            )

        await self.lab.database.tx(keep)

    async def mark(self, environment: str = "test") -> Mark:
        """Look at the mark."""
        return await self.lab.database.read(lambda connection: remote_jobs.mark(connection, environment))


@pytest.fixture
def mailer(lab: Lab) -> Mailer:
    """A service that has registered nothing yet."""
    return Mailer(lab, lab.world.new_id())


async def test_what_is_registered_again_leaves_the_mark(mailer: Mailer) -> None:
    await mailer.declare()
    before = await mailer.mark()
    await mailer.declare()
    assert await mailer.mark() == before


async def test_every_change_that_a_call_depends_on_moves_the_mark(mailer: Mailer, lab: Lab) -> None:
    seen = [await mailer.mark()]
    await mailer.declare()
    seen.append(await mailer.mark())
    await mailer.declare(replace(DIGEST, description="weekly"))
    seen.append(await mailer.mark())
    await mailer.declare(replace(DIGEST, description="weekly"), url="http://elsewhere")
    seen.append(await mailer.mark())
    mailer.key_id = lab.world.new_id()
    await mailer.declare(replace(DIGEST, description="weekly"), url="http://elsewhere")
    seen.append(await mailer.mark())
    await lab.database.tx(lambda connection: service_jobs.drop_others(connection, "test", "mailer", []))
    seen.append(await mailer.mark())
    assert all(mark not in seen[:place] for place, mark in enumerate(seen))


async def test_other_environments_leave_it(mailer: Mailer) -> None:
    before = await mailer.mark("prod")
    await mailer.declare()
    assert await mailer.mark("prod") == before


async def test_all_jobs_of_services_are_read_with_their_mark(mailer: Mailer, lab: Lab) -> None:
    await mailer.declare()
    mark, found = await lab.database.read(lambda connection: remote_jobs.read(connection, "test"))
    assert mark == await mailer.mark()
    assert [(job.name, job.service_name, job.service_url) for job in found] == [("digest", "mailer", "http://mailer")]
