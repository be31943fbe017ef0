"""Query parameters that do not exist: refused on every route of `/v1`, with the one that was meant."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mainspring.api import known_parameters
from mainspring.api.doors import openapi_document

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.api.conftest import Door


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("pagesize=5", "did you mean `pageSize`?"),
        ("job_type=greet", "did you mean `jobType`?"),
        ("stat=queued", "did you mean `status`?"),
        ("zebra=1", "there are `cursor`, `jobType`, `organizationId`, `page`, `pageSize`, `status`"),
    ],
)
async def test_the_one_that_was_meant_is_told(ada: httpx2.AsyncClient, query: str, said: str) -> None:
    answer = await ada.get(f"/v1/jobs?page=1&{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
    [fault] = answer.json()["errors"]
    assert fault["path"] == query.partition("=")[0]
    assert said in fault["message"]


async def test_every_route_of_v1_refuses_them(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await door.create(ada)
    asked = 0
    for path, operations in door.api.openapi()["paths"].items():
        for method in operations if path.startswith("/v1/") else ():
            answer = await ada.request(method, f"{path.format(job_id=job_id)}?zebra=1", json={"jobType": "greet"})
            assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "zebra"), (method, path)
            asked += 1
    assert asked >= 8
    assert (await ada.get("/v1/jobs")).json()["total"] == 1


async def test_an_address_without_any_says_so(door: Door, ada: httpx2.AsyncClient) -> None:
    answer = await ada.post(f"/v1/jobs/{await door.create(ada)}/cancel?force=true")
    assert answer.json()["errors"][0]["message"] == "there is no such parameter: this address takes none"


async def test_a_stranger_is_told_nothing_of_them(door: Door) -> None:
    assert (await (await door.client()).get("/v1/jobs?zebra=1")).status_code == 401


@asynccontextmanager
async def asking(door: Door, *, root_path: str = "") -> AsyncGenerator[httpx2.AsyncClient]:
    """Ask as a member, and look at the answers only: the document is not made to compare them with it."""
    transport = httpx2.ASGITransport(door.api, root_path=root_path)
    headers = {"Authorization": f"Bearer {door.token()}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


async def test_the_whole_document_is_not_made_for_them(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def document() -> dict[str, Any]:
        raise AssertionError("the event loop would stand still for a second")

    monkeypatch.setattr(door.api, "openapi", document)
    monkeypatch.setattr(known_parameters, "_of_route", {})
    async with asking(door) as client:
        assert (await client.get("/v1/jobs?page=1")).status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "status"), [("GET", "/openapi.json", 200), ("GET", "/docs", 200), ("DELETE", "/v1/jobs", 405)]
)
async def test_whoever_needs_the_whole_document_has_it_made_on_a_thread(
    door: Door, monkeypatch: pytest.MonkeyPatch, method: str, address: str, status: int
) -> None:
    made_on: list[int] = []

    def document() -> dict[str, Any]:
        made_on.append(threading.get_ident())
        return openapi_document()

    monkeypatch.setattr(door.api, "openapi", document)
    async with asking(door) as client:
        assert (await client.request(method, address)).status_code == status
    assert made_on
    assert threading.get_ident() not in made_on


async def test_the_document_says_where_a_host_has_mounted_the_api(door: Door) -> None:
    async with asking(door, root_path="/ops") as client:
        assert (await client.get("/ops/openapi.json")).json()["servers"] == [{"url": "/ops"}]
