"""The built-in reports become files: what they read, and that it can be written."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp

    from mainspring import Mainspring


async def exported(app: Mainspring, report: str) -> list[dict[str, str]]:
    """Return the rows of a report as they stand in its file."""
    execution = await app.enqueue(
        "export_report", {"reportType": report, "format": "csv"}, organization_id="acme", user_id="ada"
    )
    result: dict[str, Any] = await execution.wait(timeout=timedelta(seconds=20))
    path = app.settings.export_dir + "/" + result["downloadUrl"].rpartition("/")[2]
    with open(path, encoding="utf-8", newline="") as file:  # noqa: ASYNC230, PTH123 - a few lines, in a test
        rows = list(csv.DictReader(file))
    assert len(rows) == result["recordCount"]
    return rows


async def test_what_a_user_has_run_can_be_exported(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(export_dir=str(tmp_path / "exports"))

    @app.job("greet")
    async def _greet() -> str:
        return "hello"

    async with app.running():
        for user in ("ada", "bob"):
            execution = await app.enqueue("greet", organization_id="acme", user_id=user)
            await execution.wait(timeout=timedelta(seconds=20))
        rows = await exported(app, "executions")
    ended = [row for row in rows if row["jobType"] == "greet"]
    assert [(row["status"], row["userId"]) for row in ended] == [("succeeded", "ada")]
    assert list(rows[0])[:3] == ["id", "jobType", "status"]


async def test_the_audit_of_an_organization_can_be_exported(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(export_dir=str(tmp_path / "exports"))
    async with app.running():
        assert await exported(app, "audit") == []
