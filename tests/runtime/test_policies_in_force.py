"""What admins put in the place of code's own words is what a node does, from the next attempt on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.control.job_policies import JobPolicyCommands
from mainspring.domain.access import Actor
from mainspring.errors import ExecutionFailedError
from mainspring.runtime.policies_in_force import PoliciesInForce
from mainspring.security.audit import Audit

if TYPE_CHECKING:
    from conftest import MakeApp

    from mainspring import JobContext, Mainspring


async def change(app: Mainspring, **changes: Any) -> None:
    opened = app.opened
    audit = Audit(opened.database, app.world)
    commands = JobPolicyCommands(database=opened.database, signals=opened.signals, environment="dev", audit=audit)
    await commands.change(Actor.application("dev"), "endless", changes)


def endless_app(make_app: MakeApp) -> Mainspring:
    app = make_app()

    @app.job("endless")
    async def _endless(ctx: JobContext[Any]) -> None:
        await asyncio.Event().wait()

    return app


async def test_a_node_carries_out_the_changed_timeout(make_app: MakeApp) -> None:
    app = endless_app(make_app)
    async with app.running(roles=()):  # which registers the job
        await change(app, timeout=0.05, retry={"max_retries": 0})
    async with app.running():
        execution = await app.enqueue("endless", max_retries=0)
        with pytest.raises(ExecutionFailedError, match="longer than its timeout"):
            await execution.wait(timeout=timedelta(seconds=10))
    again = app.registry.get("endless").definition
    assert again.timeout == timedelta(hours=1), "the next start must register what code says"


async def test_a_change_is_known_after_the_next_look_and_so_is_its_end(make_app: MakeApp) -> None:
    app = endless_app(make_app)
    async with app.running(roles=()):
        policies = PoliciesInForce(app.registry, app.opened.database, "dev")
        assert (await policies.refresh()).did == 0
        await change(app, timeout=7, config={"to": "ops"}, retry={"max_retries": 9, "base": 1})
        assert (await policies.refresh()).did == 1
        definition = policies.get("endless").definition
        assert (definition.timeout, definition.config) == (timedelta(seconds=7), {"to": "ops"})
        assert definition.retry is not None
        assert (definition.retry.max_retries, definition.retry.base) == (9, timedelta(seconds=1))
        assert (await policies.refresh()).did == 0
        await change(app, timeout=None, config=None, retry=None)
        await policies.refresh()
        assert policies.get("endless") is app.registry.get("endless")
