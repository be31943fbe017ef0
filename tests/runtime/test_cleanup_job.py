"""The on-demand job `cleanup`, from its payload to its result."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring, testing
from mainspring.domain.execution import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mainspring.domain.execution import Execution

OLD: dict[str, Any] = {"target": "executions", "olderThanDays": 30}
WRONG: list[dict[str, Any] | None] = [
    None,
    {},
    {"target": "executions"},
    {"olderThanDays": 30},
    OLD | {"target": "audit"},
    OLD | {"olderThanDays": -1},
    OLD | {"olderThanDays": 3_651},
    OLD | {"olderThanDays": "30"},
    OLD | {"olderThanDays": 1.5},
    OLD | {"olderThanDays": True},
    OLD | {"dryRun": "yes"},
    OLD | {"user": ""},
    OLD | {"organization": "globex"},
]


class House:
    """An application under test, with jobs of two organizations."""

    def __init__(self, app: Mainspring, kit: testing.Kit) -> None:
        self.app = app
        self.kit = kit

    async def greet(self, organization: str) -> None:
        """Let an organization have one more execution that has ended."""
        await self.app.enqueue("greet", organization_id=organization, user_id="ada")
        await self.kit.drain()

    async def clean_up(self, payload: object) -> Execution:
        """Ask for a cleanup of acme, and return how its execution ended."""
        asked = await self.app.enqueue("cleanup", payload, organization_id="acme", user_id="ada")
        *_, ended = await self.kit.drain()
        assert ended.id == asked.id
        return ended


@pytest.fixture
async def house() -> AsyncIterator[House]:
    app = Mainspring(database_url="sqlite://", secret_key="the secret key of the tests, 32 bytes")

    @app.job("greet")
    async def _greet() -> str:
        return "hello"

    async with testing.kit(app) as kit:
        yield House(app, kit)


async def test_what_an_organization_has_no_use_for_any_more_goes(house: House) -> None:
    await house.greet("acme")
    await house.greet("acme")
    await house.greet("globex")
    house.kit.clock.advance(timedelta(days=31))
    await house.greet("acme")

    ended = await house.clean_up(OLD)

    assert ended.status is Status.SUCCEEDED
    assert ended.result == {
        "target": "executions",
        "dryRun": False,
        "olderThanDays": 30,
        "matched": 2,
        "deleted": 2,
    }
    assert [execution.organization_id for execution in house.kit.executions("greet")] == ["globex", "acme"]


async def test_its_steps_are_those_that_are_documented(house: House) -> None:
    progress = (await house.clean_up(OLD)).progress

    assert (progress.percent, progress.current_step, progress.total_steps) == (100, 4, 4)


async def test_a_dry_run_says_what_would_go(house: House) -> None:
    await house.greet("acme")
    house.kit.clock.advance(timedelta(days=31))

    ended = await house.clean_up(OLD | {"dryRun": True})

    assert (ended.result["matched"], ended.result["deleted"]) == (1, 0)
    assert len(house.kit.executions("greet")) == 1


async def test_a_cleanup_of_today_leaves_itself_alone(house: House) -> None:
    await house.greet("acme")
    house.kit.clock.advance(timedelta(seconds=1))

    ended = await house.clean_up(OLD | {"olderThanDays": 0})

    assert ended.result["deleted"] == 1
    assert [execution.id for execution in house.kit.executions()] == [ended.id]


@pytest.mark.parametrize("payload", WRONG)
async def test_a_wrong_payload_fails_in_its_first_step_and_can_be_retried_by_hand(
    house: House, payload: object
) -> None:
    await house.greet("acme")
    house.kit.clock.advance(timedelta(days=31))

    ended = await house.clean_up(payload)

    assert (ended.status, ended.error_message) == (Status.FAILED, "Invalid cleanup job payload")
    assert (ended.progress.percent, ended.progress.current_step) == (20, 1)
    assert (ended.retry_count, ended.can_retry) == (0, True)
    assert len(house.kit.executions("greet")) == 1
