"""Downloading the files of one's exports under the session of the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from mainspring.domain.access import Role
from mainspring.domain.execution import Status
from mainspring.store.queue import history
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from tests.web.conftest import Site

CONTENT = b"number,total\r\n1,2\r\n" + b"3,4\r\n" * 400


async def exported(site: Site, user: str) -> str:
    """Make an export of somebody of acme, and return where the dashboard has its file."""
    made = await site.app.enqueue("export_report", {"reportType": "quotes"}, user_id=user, organization_id="acme")
    name = f"quotes_2026-11-22_{made.id}.csv"
    put(Path(site.app.settings.export_dir), name)

    def finish(connection: Connection) -> None:
        history.end_live(connection, [UUID(str(made.id))], status=Status.SUCCEEDED, stages=history.NOT_STARTED)
        result = f'{{"downloadUrl":"/api/v1/exports/{name}"}}'
        connection.execute(executions.update().where(executions.c.id == made.id).values(result=result))

    await site.services.opened.database.tx(finish)
    return f"/exports/{name}"


def put(folder: Path, name: str) -> None:
    """Write the file."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(CONTENT)


async def test_the_owner_downloads_its_file_and_nobody_else_does(site: Site) -> None:
    address = await exported(site, "eve")
    eve = await site.client("eve", Role.MEMBER, "acme")
    answer = await eve.get(address)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-encoding" not in answer.headers, "a part that is asked for later has to fit"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert (await eve.get(address, headers={"Range": "bytes=0-5"})).content == CONTENT[:6]
    assert (await eve.get(address, headers={"Range": "bytes=90000-"})).status_code == 416
    for name, role, organization in (("mallory", Role.ADMIN, "acme"), ("ada", Role.ADMIN, None)):
        assert (await (await site.client(name, role, organization)).get(address)).status_code == 404
    assert (await (await site.client("bob", Role.VIEWER, "acme")).get(address)).status_code == 403
