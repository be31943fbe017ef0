"""Query parameters that do not exist: refused on every route of `/v1`, with the one that was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx2

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
