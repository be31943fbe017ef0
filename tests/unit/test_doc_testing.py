"""The page about testing: its code runs as it stands there."""

from __future__ import annotations

import ast
import re
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mainspring import testing
from mainspring.testing import pytest_plugin

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_the_code_of_the_page_runs(
    repository: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setenv("MAINSPRING_LOG_FORMAT", "json")
    pytest_plugin.pytest_configure(pytestconfig)  # its marker is known, wherever this runs
    page = (repository / "docs" / "testing.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        code = compile(block, "testing.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        running = eval(code, names)  # noqa: S307 - our own page
        if running is not None:
            await running
    test = names["test_customers_are_charged_every_night"]
    assert isinstance(test, FunctionType)
    (marker,) = vars(test)["pytestmark"]
    async with testing.kit(names["app"], **marker.kwargs) as kit:
        await test(kit)


async def test_the_message_of_the_page_is_that_of_the_kit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_LOG_FORMAT", "json")
    page = (repository / "docs" / "testing.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], names)  # noqa: S102 - our own page
    async with testing.kit(names["app"]) as kit:
        await names["app"].enqueue("send-receipt", {"order": "A-1"})
        try:
            kit.assert_enqueued("send-receipt", {"order": "A-2"})
        except AssertionError as error:
            told = str(error)
        else:
            told = "nothing"
    assert f"```text\n{told}\n```" in page


def test_every_link_of_the_page_leads_somewhere(repository: Path) -> None:
    for page in ("testing.md", "check.md"):
        targets = re.findall(r"\]\(([^)#:]+)\)", (repository / "docs" / page).read_text(encoding="utf-8"))
        assert [target for target in targets if not (repository / "docs" / target).exists()] == []
