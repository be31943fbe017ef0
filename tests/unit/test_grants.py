"""Nobody grants more than they have, whatever they have and whatever they grant."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from mainspring.domain.access import Actor, ActorKind, Permission, Role
from mainspring.domain.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator

ORGANIZATIONS = (None, "acme", "globex")
GRANTS = [Grant(role, organization) for role in Role for organization in ORGANIZATIONS]


def actors() -> Iterator[Actor]:
    """Return every actor there can be: each role in each organization, with any single permissions beside it."""
    for role in Role:
        others = [permission for permission in Permission if permission not in role.permissions]
        for count in range(len(others) + 1):
            for extra in combinations(others, count):
                for organization in ORGANIZATIONS:
                    permissions = role.permissions | set(extra)
                    yield Actor(
                        "eve",
                        ActorKind.USER,
                        "dev",
                        organization,
                        permissions,
                        sees_organization=role.sees_organization,
                    )


def granted(grant: Grant) -> Actor:
    """Return who acts by a grant."""
    role = grant.role
    return Actor(
        "mallory",
        ActorKind.USER,
        "dev",
        grant.organization_id,
        role.permissions,
        sees_organization=role.sees_organization,
    )


def test_what_is_granted_never_reaches_further_than_who_grants_it() -> None:
    allowed = 0
    for actor in actors():
        for grant in GRANTS:
            if not grant.is_within(actor):
                continue
            new = granted(grant)
            allowed += 1
            assert new.permissions <= actor.permissions
            assert actor.organization_id in {None, new.organization_id}
            assert actor.scope.user_id is None or new.scope.user_id is not None
    assert allowed > 10_000


def test_who_has_all_of_it_may_grant_it() -> None:
    for actor in actors():
        for grant in GRANTS:
            sees_all_of_it = actor.organization_id is None or (
                actor.organization_id == grant.organization_id and actor.sees_organization
            )
            if sees_all_of_it and grant.role.permissions <= actor.permissions:
                assert grant.is_within(actor)


def test_an_admin_makes_admins_of_its_organization_and_no_service() -> None:
    admin = granted(Grant(Role.ADMIN, "acme"))
    within = {(role, of) for role in Role for of in ("acme", "globex", None) if Grant(role, of).is_within(admin)}
    assert within == {(role, "acme") for role in Role if role is not Role.SERVICE}


def test_whoever_is_at_the_terminal_grants_everything() -> None:
    root = Actor.at_terminal("dev", "root")
    assert all(Grant(role, of).is_within(root) for role in Role for of in (None, "acme"))
