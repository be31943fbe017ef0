"""`dependsOn` and `onParentFailure` in the body of `POST /v1/jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [({}, "cancelled", "dependency_not_met"), ({"onParentFailure": "run"}, "queued", None)],
)
async def test_a_job_says_what_becomes_of_it_when_a_parent_ends_without_success(
    door: Door, ada: httpx2.AsyncClient, asked: dict[str, str], status: str, reason: str | None
) -> None:
    parent = await door.create(ada)
    child = await door.create(ada, dependsOn=[parent], **asked)
    assert (await ada.post(f"/v1/jobs/{parent}/cancel")).status_code == 200
    job = (await ada.get(f"/v1/jobs/{child}")).json()
    assert (job["status"], job["errorMessage"]) == (status, reason)


@pytest.mark.parametrize("choice", ["retry", "", None, 1])
async def test_another_choice_is_refused(ada: httpx2.AsyncClient, choice: object) -> None:
    refused = await ada.post("/v1/jobs", json={"jobType": "greet", "onParentFailure": choice})
    assert refused.status_code == 422
    assert [fault["path"] for fault in refused.json()["errors"]] == ["onParentFailure"]


async def test_nobody_waits_for_the_job_of_another_organization(door: Door, ada: httpx2.AsyncClient) -> None:
    eve = await door.client(door.token("eve", organization="globex"))
    foreign = await door.create(eve)
    refused = await ada.post("/v1/jobs", json={"jobType": "greet", "dependsOn": [foreign]})
    assert (refused.status_code, refused.json()["code"]) == (422, "UNKNOWN_DEPENDENCY")
