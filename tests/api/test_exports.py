"""`/api/v1/exports`: files for their owners alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from mainspring.domain.access import Permission, Role
from mainspring.domain.execution import Status
from mainspring.store import history
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from tests.api.conftest import Door

UNKNOWN = "01890000-0000-7000-8000-000000000001"
CONTENT = b"number,total\r\n1,2\r\n"


async def exported(door: Door, client: httpx2.AsyncClient, status: Status = Status.SUCCEEDED) -> str:
    """Make a job that has made a file, and return the file's address."""
    job_id = await door.create(client)
    address = f"/api/v1/exports/quotes_2024-01-30_{job_id}.csv"

    def finish(connection: Any) -> None:
        history.end_live(connection, [UUID(job_id)], status=status, stages=history.NOT_STARTED)
        result = f'{{"downloadUrl":"{address}"}}'
        connection.execute(executions.update().where(executions.c.id == UUID(job_id)).values(result=result))

    await door.services.database.tx(finish)
    folder = door.app.settings.export_dir
    folder.mkdir(exist_ok=True)
    (folder / address.rpartition("/")[2]).write_bytes(CONTENT)
    return address


async def test_the_owner_downloads_it_as_an_attachment(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    answer = await ada.get(address)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{address.rpartition("/")[2]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_download_can_be_resumed(door: Door, ada: httpx2.AsyncClient) -> None:
    answer = await ada.get(await exported(door, ada), headers={"Range": "bytes=7-"})
    assert (answer.status_code, answer.content) == (206, CONTENT[7:])
    assert (await ada.get(str(answer.url), headers={"Range": "bytes=999-"})).status_code == 416


@pytest.mark.parametrize(
    "stranger",
    [
        {"user": "bob"},
        {"user": "bob", "role": Role.ADMIN},
        {"organization": "globex"},
        {"user": "root", "role": Role.ADMIN, "organization": None},
        {"user": "ada", "role": Role.ADMIN, "organization": None},
    ],
)
async def test_to_anybody_else_it_is_byte_for_byte_an_unknown_file(
    door: Door, ada: httpx2.AsyncClient, stranger: Mapping[str, Any]
) -> None:
    address = await exported(door, ada)
    other = await door.client(door.token(**stranger))
    foreign = await other.get(address)
    unknown = await other.get(f"/api/v1/exports/quotes_2024-01-30_{UNKNOWN}.csv")
    assert foreign.status_code == 404
    assert foreign.content == unknown.content
    assert foreign.json()["code"] == "EXPORT_NOT_FOUND"


async def test_who_may_not_export_may_not_download(door: Door) -> None:
    maker = await door.client(door.token("ada", Role.VIEWER, permissions=[Permission.CREATE_JOBS]))
    assert (await maker.get(await exported(door, maker))).status_code == 403


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_a_job_that_did_not_succeed_has_no_file(door: Door, ada: httpx2.AsyncClient, status: Status) -> None:
    assert (await ada.get(await exported(door, ada, status))).status_code == 404


async def test_only_the_very_file_of_the_result_is_served(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    name = address.rpartition("/")[2]
    other = name.replace("quotes", "salaries")
    (door.app.settings.export_dir / other).write_bytes(b"others'")
    for path in (
        other,
        name.upper(),
        name.replace(".csv", ".xlsx"),
        f"..%2f{name}",
        f"%2e%2e/{name}",
        f"{name}%00",
        "x",
        ".",
    ):
        assert (await ada.get(f"/api/v1/exports/{path}")).status_code == 404, path


async def test_a_file_that_is_gone_is_404(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    (door.app.settings.export_dir / address.rpartition("/")[2]).unlink()
    assert (await ada.get(address)).status_code == 404


async def test_a_link_out_of_the_folder_is_not_followed(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    file = door.app.settings.export_dir / address.rpartition("/")[2]
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert (await ada.get(address)).status_code == 404
