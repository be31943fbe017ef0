"""`/api/v1/exports`: files for their owners alone."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import obstore
import pytest
from obstore.store import MemoryStore

from mainspring.domain.access import Permission, Role
from mainspring.domain.execution import Status
from mainspring.reports.object_storage import ObjectStorage
from mainspring.store.queue import history
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    file = file_of(door, address)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(CONTENT)
    return address


def file_of(door: Door, address: str) -> Path:
    return Path(door.app.settings.export_dir, address.rpartition("/")[2])


async def test_the_owner_downloads_it_as_an_attachment(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    answer = await ada.get(address)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{address.rpartition("/")[2]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_says_what_it_is_before_it_is_fetched(door: Door, ada: httpx2.AsyncClient) -> None:
    answer = await ada.head(await exported(door, ada))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == (await ada.get(str(answer.url))).headers["etag"]


@pytest.mark.parametrize(
    ("asked", "part", "content_range"),
    [
        ("bytes=7-", CONTENT[7:], "bytes 7-18/19"),
        ("bytes=0-0", CONTENT[:1], "bytes 0-0/19"),
        ("bytes=3-6", CONTENT[3:7], "bytes 3-6/19"),
        ("bytes=12-99999", CONTENT[12:], "bytes 12-18/19"),
        ("bytes=-5", CONTENT[-5:], "bytes 14-18/19"),
        ("bytes=-99", CONTENT, "bytes 0-18/19"),
    ],
)
async def test_a_part_of_it_can_be_had(
    door: Door, ada: httpx2.AsyncClient, asked: str, part: bytes, content_range: str
) -> None:
    answer = await ada.get(await exported(door, ada), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == content_range
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize("asked", ["bytes=19-", "bytes=999-1000", "bytes=-0"])
async def test_a_part_that_it_has_not_is_416_and_says_how_long_it_is(
    door: Door, ada: httpx2.AsyncClient, asked: str
) -> None:
    answer = await ada.get(await exported(door, ada), headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert answer.headers["content-range"] == "bytes */19"


@pytest.mark.parametrize(
    "asked", ["bytes=7-3", "bytes=-", "bytes=a-b", "rows=1-2", "bytes=0-1,3-4", f"bytes={'9' * 5000}-", "bytes=\u0661-"]
)
async def test_a_range_that_means_nothing_here_gives_the_whole(door: Door, ada: httpx2.AsyncClient, asked: str) -> None:
    answer = await ada.get(await exported(door, ada), headers=[(b"Range", asked.encode())])
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_a_download_is_resumed_only_with_the_same_version(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    first = await ada.get(address)
    for same in (first.headers["etag"], first.headers["last-modified"]):
        answer = await ada.get(address, headers={"Range": "bytes=7-", "If-Range": same})
        assert (answer.status_code, answer.content) == (206, CONTENT[7:])
    for other in ('"another"', f"W/{first.headers['etag']}", "Mon, 01 Jan 2024 00:00:00 GMT"):
        answer = await ada.get(address, headers={"Range": "bytes=7-", "If-Range": other})
        assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_an_export_in_object_storage_is_downloaded_the_same_way(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    name = address.rpartition("/")[2]
    bucket = MemoryStore()
    obstore.put(bucket, name, CONTENT)
    door.app.exports = ObjectStorage(bucket, scratch=Path(door.app.settings.export_dir))
    whole = await ada.get(address)
    part = await ada.get(address, headers={"Range": "bytes=7-9", "If-Range": whole.headers["etag"]})
    assert (whole.content, part.content) == (CONTENT, CONTENT[7:10])


async def test_it_can_be_downloaded_for_seven_days(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    now = door.app.world.now()
    for age, status in ((timedelta(days=7, minutes=-1), 200), (timedelta(days=7), 404)):
        modified = (now - age).timestamp()
        os.utime(file_of(door, address), (modified, modified))
        answer = await ada.get(address)
        assert answer.status_code == status, age
    assert answer.content == (await ada.get(f"/api/v1/exports/quotes_2024-01-30_{UNKNOWN}.csv")).content


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


SPELLINGS: dict[str, Callable[[str], str]] = {
    "another report": lambda name: name.replace("quotes", "salaries"),
    "upper case": str.upper,
    "another case": lambda name: name.replace("quotes", "Quotes"),
    "another ending": lambda name: name.replace(".csv", ".xlsx"),
    "another day": lambda name: name.replace("2024-01-30", "2024-01-31"),
    "a dot behind it": lambda name: f"{name}.",
    "a slash behind it": lambda name: f"{name}/",
    "an encoded slash behind it": lambda name: f"{name}%2F",
    "a space behind it": lambda name: f"{name}%20",
    "a NUL behind it": lambda name: f"{name}%00",
    "a line end behind it": lambda name: f"{name}%0A",
    "a parameter behind it": lambda name: f"{name};x=1",
    "a stream of Windows behind it": lambda name: f"{name}::$DATA",
    "a slash before it": lambda name: f"/{name}",
    "an encoded slash before it": lambda name: f"%2F{name}",
    "a dot and a slash before it": lambda name: f"%2e/{name}",
    "the folder above": lambda name: f"%2e%2e/exports/{name}",
    "the folder above, encoded": lambda name: f"..%2F{name}",
    "the folder above, encoded twice": lambda name: f"%252e%252e%252f{name}",
    "the folder above, with backslashes": lambda name: f"..%5C{name}",
    "the folder above, in overlong UTF-8": lambda name: f"%c0%ae%c0%ae%c0%af{name}",
    "an absolute path": lambda _name: "%2Fetc%2Fpasswd",
    "an address": lambda name: f"file:%2F%2F%2F{name}",
    "encoded twice": lambda name: name.replace("quotes", "%2571uotes"),
    "a letter that looks alike": lambda name: name.replace("o", "%D0%BE"),
    "full-width letters": lambda name: name.replace("q", "%EF%BD%91"),
    "a full-width dot": lambda name: name.replace(".", "%EF%BC%8E"),
    "an invisible letter": lambda name: f"%E2%80%8B{name}",
    "a hidden name": lambda name: f".{name}",
    "the id without hyphens": lambda name: name[:18] + name[18:].replace("-", ""),
    "the id alone": lambda name: name[18:-4],
    "nothing": lambda _name: "",
}
"""Ways to write the name of a file, or of one like it, other than as the result of its export does."""


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_other_spelling_is_byte_for_byte_an_unknown_file(
    door: Door, ada: httpx2.AsyncClient, spelling: str
) -> None:
    address = await exported(door, ada)
    name = address.rpartition("/")[2]
    file_of(door, name.replace("quotes", "salaries")).write_bytes(b"others'")
    unknown = await ada.get(f"/api/v1/exports/quotes_2024-01-30_{UNKNOWN}.csv")
    stranger = await door.client(door.token("mallory", organization="globex"))
    for client in (ada, stranger):
        answer = await client.get(f"/api/v1/exports/{SPELLINGS[spelling](name)}")
        assert (answer.status_code, answer.content) == (404, unknown.content)


@pytest.mark.parametrize("name", ["percent", "percent in lower case"])
async def test_the_name_itself_may_be_percent_encoded(door: Door, ada: httpx2.AsyncClient, name: str) -> None:
    address = await exported(door, ada)
    encoded = "".join(f"%{ord(letter):02x}" for letter in address.rpartition("/")[2])
    answer = await ada.get(f"/api/v1/exports/{encoded if 'lower' in name else encoded.upper()}")
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_a_file_that_is_gone_is_404(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    file_of(door, address).unlink()
    assert (await ada.get(address)).status_code == 404


async def test_a_link_out_of_the_folder_is_not_followed(door: Door, ada: httpx2.AsyncClient) -> None:
    address = await exported(door, ada)
    file = file_of(door, address)
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert (await ada.get(address)).status_code == 404


class TestReportsOfTheOrganization:
    """Who may export what of the built-in reports is decided when the export is created."""

    @pytest.mark.parametrize(
        ("role", "payload", "status"),
        [
            (Role.MEMBER, {"reportType": "executions"}, 201),
            (Role.MEMBER, {"reportType": "executions", "filters": {"allUsers": False}}, 201),
            (Role.MEMBER, {"reportType": "executions", "filters": {"allUsers": True}}, 403),
            (Role.OPERATOR, {"reportType": "executions", "filters": {"allUsers": True}}, 201),
            (Role.ADMIN, {"reportType": "executions", "filters": {"allUsers": True}}, 201),
            (Role.MEMBER, {"reportType": "audit"}, 403),
            (Role.OPERATOR, {"reportType": "audit"}, 403),
            (Role.ADMIN, {"reportType": "audit"}, 201),
        ],
    )
    async def test_only_who_sees_them_may_export_them(
        self, door: Door, role: Role, payload: Mapping[str, Any], status: int
    ) -> None:
        client = await door.client(door.token("ada", role))
        body = {"jobType": "export_report", "payload": {"format": "csv", **payload}}
        assert (await client.post("/v1/jobs", json=body)).status_code == status
