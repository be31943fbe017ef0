"""Templates behind `/v1/jobs`: prepared requests, of which a caller says only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door


@pytest.fixture(autouse=True)
def templates(door: Door) -> None:
    """Prepare requests for jobs that tenants may create, and for one that they may not."""
    door.app.template(
        "to-paris",
        job="ship",
        payload={"city": "Paris", "parcel": {"weight": 2, "fragile": True}, "address": "1 Rue Cler"},
        description="A parcel to Paris.",
        priority=7,
        max_retries=5,
        queue="night",
    )
    door.app.template("light", job="weigh", payload={"weight": 1})
    door.app.template("sweep-up", job="sweep")


async def created(ada: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    """Create a job, and return it."""
    answer = await ada.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return (await ada.get(f"/v1/jobs/{answer.json()['jobId']}")).json()


async def refused(ada: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ask for a job that cannot be, and return why."""
    answer = await ada.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    return answer.json()


async def test_a_template_alone_makes_a_job(ada: httpx2.AsyncClient) -> None:
    job = await created(ada, template="to-paris")

    assert (job["jobType"], job["priority"], job["maxRetries"]) == ("ship", 7, 5)
    assert job["payload"]["parcel"] == {"weight": 2, "fragile": True}


async def test_its_queue_is_the_templates(door: Door, ada: httpx2.AsyncClient) -> None:
    answer = await ada.post("/v1/jobs", json={"template": "to-paris"})

    (entry,) = await door.audit(answer.json()["jobId"])
    assert '"queue":"night"' in (entry.after or "")


async def test_the_payload_is_merged_over_the_templates(ada: httpx2.AsyncClient) -> None:
    job = await created(
        ada, template="to-paris", payload={"parcel": {"weight": 3, "fragile": None, "colour": "red"}, "city": ["Lyon"]}
    )

    assert job["payload"]["parcel"] == {"weight": 3, "colour": "red"}
    assert job["payload"]["city"] == ["Lyon"]


async def test_what_the_request_says_wins(ada: httpx2.AsyncClient) -> None:
    job = await created(ada, template="to-paris", jobType="ship", priority=0, maxRetries=0)

    assert (job["priority"], job["maxRetries"]) == (0, 0)


async def test_a_template_stays_as_it_was_whatever_requests_said(ada: httpx2.AsyncClient) -> None:
    await created(ada, template="to-paris", payload={"parcel": {"weight": 99, "fragile": None}})

    job = await created(ada, template="to-paris")

    assert job["payload"]["parcel"] == {"weight": 2, "fragile": True}


async def test_an_unknown_template_is_refused_with_the_nearest_names(ada: httpx2.AsyncClient) -> None:
    problem = await refused(ada, template="to-pari")

    assert problem["code"] == "UNKNOWN_TEMPLATE"
    assert problem["detail"] == "no template is called 'to-pari': did you mean 'to-paris'?"


async def test_a_template_of_a_job_that_tenants_may_not_create_is_unknown(ada: httpx2.AsyncClient) -> None:
    assert (await refused(ada, template="sweep-up"))["code"] == "UNKNOWN_TEMPLATE"


async def test_a_template_cannot_be_used_for_another_job(ada: httpx2.AsyncClient) -> None:
    problem = await refused(ada, template="to-paris", jobType="greet")

    assert problem["errors"][0]["path"] == "jobType"


@pytest.mark.parametrize("body", [{}, {"payload": {}}, {"jobType": ""}, {"template": ""}, {"template": None}])
async def test_a_request_names_a_job_or_a_template(ada: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert (await refused(ada, **body))["code"] == "INVALID_REQUEST"


async def test_the_money_rule_holds_for_what_comes_of_the_merge(ada: httpx2.AsyncClient) -> None:
    problem = await refused(ada, template="to-paris", payload={"parcel": {"fee": 3}})

    assert problem["code"] == "MONETARY_VALUE"
    assert "payload.parcel.fee" in problem["detail"]


async def test_the_payload_type_is_checked_after_the_merge(ada: httpx2.AsyncClient) -> None:
    job = await created(ada, template="light")
    problem = await refused(ada, template="light", payload={"weight": "heavy"})

    assert job["payload"] == {"weight": 1}
    assert problem["code"] == "INVALID_PAYLOAD"


async def test_the_list_shows_what_may_be_asked_for(ada: httpx2.AsyncClient) -> None:
    answer = await ada.get("/v1/jobs/templates")

    light, to_paris = answer.json()["templates"]
    assert light == {
        "name": "light",
        "description": "",
        "jobType": "weigh",
        "payload": {"weight": 1},
        "priority": None,
        "maxRetries": None,
        "queue": None,
    }
    assert (to_paris["name"], to_paris["priority"], to_paris["queue"]) == ("to-paris", 7, "night")
    assert to_paris["payload"]["address"] == "[hidden]"


async def test_the_list_hides_no_job_whose_id_is_asked_for(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await door.create(ada)

    assert (await ada.get(f"/v1/jobs/{job_id}")).json()["id"] == job_id
