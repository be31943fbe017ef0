"""The limit of each organization: who sets it, and that every claim goes by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring.control.access import UnfitNameError
from mainspring.control.organizations import LimitOutOfRangeError, OrganizationCommands
from mainspring.domain.access import Actor, ActorKind, Role, Scope
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.store.engine.signals import WORK, Signals
from mainspring.store.queue import organization_limits
from mainspring.store.queue.organization_limits import Organization, UnknownOrganizationError
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, ROOT

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Database
    from mainspring.store.queue.claimed import ClaimedExecution
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab


@pytest.fixture
def signals(world: RealWorld) -> Signals:
    return Signals(world)


@pytest.fixture
def commands(database: Database, world: RealWorld, signals: Signals) -> OrganizationCommands:
    return OrganizationCommands(database, Audit(database, world, KEY), signals)


def actor(role: Role, organization: str | None) -> Actor:
    return Actor("somebody", ActorKind.USER, "test", organization, permissions=role.permissions, sees_organization=True)


async def backlog(lab: Lab, organization: str, count: int) -> None:
    await lab.enqueue(*(lab.new(organization_id=organization) for _ in range(count)))


async def claimed_by_two_nodes(lab: Lab) -> list[ClaimedExecution]:
    other = lab.world.new_id()
    return await lab.claim() + await lab.claim(node_id=other)


async def trail(database: Database) -> list[AuditEntry]:
    found = await database.read(lambda connection: audit_trail(connection, Scope("test"), target_id="acme"))
    return [entry for entry, _mac in found]


async def test_raising_a_limit_lets_the_next_claim_take_more(lab: Lab, commands: OrganizationCommands) -> None:
    await backlog(lab, "acme", 20)
    assert len(await claimed_by_two_nodes(lab)) == 5

    await commands.limit(ROOT, "acme", 8)

    assert len(await claimed_by_two_nodes(lab)) == 3


async def test_lowering_a_limit_stops_nothing_and_lets_nothing_start_until_there_is_room(
    lab: Lab, commands: OrganizationCommands
) -> None:
    await backlog(lab, "acme", 20)
    running = await claimed_by_two_nodes(lab)

    await commands.limit(ROOT, "acme", 2)

    assert await lab.succeed(*running[:3]) == {execution.id for execution in running[:3]}
    assert await claimed_by_two_nodes(lab) == []
    await lab.succeed(running[3])
    assert len(await claimed_by_two_nodes(lab)) == 1


async def test_a_limit_of_nothing_holds_an_organization_back_and_nobody_else(
    lab: Lab, commands: OrganizationCommands
) -> None:
    await backlog(lab, "acme", 3)
    await backlog(lab, "globex", 3)

    await commands.limit(ROOT, "acme", 0)

    assert {execution.organization_id for execution in await claimed_by_two_nodes(lab)} == {"globex"}


async def test_the_default_is_the_settings_again(lab: Lab, commands: OrganizationCommands) -> None:
    await backlog(lab, "acme", 20)
    assert await commands.limit(ROOT, "acme", 1) is None
    assert await commands.limit(ROOT, "acme", None) == 1

    assert len(await lab.claim(organization_limit=4)) == 4


async def test_a_limit_may_be_set_before_the_first_job(lab: Lab, commands: OrganizationCommands) -> None:
    await commands.limit(ROOT, "acme", 1)
    await backlog(lab, "acme", 3)

    assert len(await claimed_by_two_nodes(lab)) == 1


async def test_a_limit_holds_in_its_environment_alone(
    lab: Lab, commands: OrganizationCommands, database: Database
) -> None:
    await database.tx(lambda connection: organization_limits.set_limit(connection, "other", "acme", 0))
    await backlog(lab, "acme", 3)

    assert len(await claimed_by_two_nodes(lab)) == 3


async def test_workers_are_woken_where_there_is_more_room(commands: OrganizationCommands, signals: Signals) -> None:
    wakeup = signals.wakeup(WORK)

    await commands.limit(ROOT, "acme", 8)

    assert await wakeup.sleep(0)


async def test_a_change_is_in_the_audit_with_what_was_before(
    commands: OrganizationCommands, database: Database
) -> None:
    await commands.limit(ROOT, "acme", 8)
    await commands.limit(ROOT, "acme", None)

    last, first = await trail(database)
    assert (first.actor, first.action, first.before, first.after) == (
        "terminal:root",
        "organization.limit",
        '{"maxRunning":null}',
        '{"maxRunning":8}',
    )
    assert (last.before, last.after) == ('{"maxRunning":8}', '{"maxRunning":null}')


@pytest.mark.parametrize(
    "who",
    [actor(Role.ADMIN, "acme"), actor(Role.OPERATOR, "acme"), actor(Role.VIEWER, None)],
    ids=["admin of acme", "operator of acme", "viewer of the platform"],
)
async def test_nobody_sets_the_limit_of_their_own_organization(
    commands: OrganizationCommands, database: Database, who: Actor
) -> None:
    with pytest.raises(PermissionDeniedError):
        await commands.limit(who, "acme", 100)

    (denial,) = await trail(database)
    assert not denial.allowed
    with pytest.raises(UnknownOrganizationError):
        await database.read(lambda connection: organization_limits.get(connection, "test", "acme"))


async def test_the_operator_of_the_platform_may(commands: OrganizationCommands, database: Database) -> None:
    await commands.limit(actor(Role.OPERATOR, None), "acme", 100)

    assert len(await trail(database)) == 1


@pytest.mark.parametrize("max_running", [-1, 10_001])
async def test_a_limit_that_cannot_be_is_refused(commands: OrganizationCommands, max_running: int) -> None:
    with pytest.raises(LimitOutOfRangeError, match="'acme'"):
        await commands.limit(ROOT, "acme", max_running)


async def test_a_name_that_no_organization_can_have_is_refused(commands: OrganizationCommands) -> None:
    with pytest.raises(UnfitNameError):
        await commands.limit(ROOT, "", 1)


async def test_how_organizations_stand_is_counted_from_what_lives(
    lab: Lab, commands: OrganizationCommands, database: Database
) -> None:
    await backlog(lab, "acme", 7)
    await lab.enqueue_one()
    claimed = await lab.claim(organization_limit=2)
    await lab.succeed(next(execution for execution in claimed if execution.organization_id == "acme"))
    await commands.limit(ROOT, "globex", 9)

    found = await database.read(lambda connection: organization_limits.find(connection, "test"))

    assert found == [Organization("acme", None, 1, 5), Organization("globex", 9, 0, 0)]
    one = await database.read(lambda connection: organization_limits.get(connection, "test", "acme"))
    assert one == found[0]
