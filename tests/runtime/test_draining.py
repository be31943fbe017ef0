"""A node that is draining claims nothing, and goes on where it was when it is resumed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.control.nodes import NodeCommands
from mainspring.domain.access import Actor
from mainspring.errors import WaitTimeoutError
from mainspring.security.audit import Audit

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeApp

ROOT = Actor.at_terminal("dev", "root")


async def test_a_draining_node_claims_nothing_until_it_is_resumed(make_app: MakeApp) -> None:
    app = make_app(node="web-1")

    @app.job("greet")
    async def greet() -> str:
        return "hello"

    async with app.running():
        opened = app.opened
        commands = NodeCommands(opened.database, Audit(opened.database, app.world, b"k" * 32), opened.signals)
        await commands.drain(ROOT, "web-1")
        execution = await greet.enqueue()
        with pytest.raises(WaitTimeoutError):
            await execution.wait(timeout=timedelta(milliseconds=400))
        await commands.resume(ROOT, "web-1")
        assert await execution.wait(timeout=timedelta(seconds=10)) == "hello"
