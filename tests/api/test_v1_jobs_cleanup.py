"""Who may clean up what: everybody what they see, and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring.domain.access import Role

if TYPE_CHECKING:
    from tests.api.conftest import Door

OLD: dict[str, Any] = {"target": "executions", "olderThanDays": 30}


async def payload_of(door: Door, role: Role, payload: dict[str, Any]) -> dict[str, Any]:
    """Ask for a cleanup, and return the payload that it will go by."""
    client = await door.client(door.token("eve", role))
    job_id = await door.create(client, jobType="cleanup", payload=payload)
    return (await client.get(f"/v1/jobs/{job_id}")).json()["payload"]


@pytest.mark.parametrize("said", [{}, {"user": "ada"}, {"user": None}])
async def test_a_member_cleans_up_after_itself_whatever_it_says(door: Door, said: dict[str, Any]) -> None:
    assert await payload_of(door, Role.MEMBER, OLD | said) == OLD | {"user": "eve"}


async def test_an_operator_cleans_up_after_the_whole_organization(door: Door) -> None:
    assert await payload_of(door, Role.OPERATOR, OLD) == OLD


async def test_an_operator_may_name_one_user(door: Door) -> None:
    assert await payload_of(door, Role.OPERATOR, OLD | {"user": "ada"}) == OLD | {"user": "ada"}
