"""The dialog that runs a job: its form, what is wrong with it, and whose run it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from pydantic import BaseModel, Field

from mainspring.domain.access import Role, Scope
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from tests.web.conftest import Page

if TYPE_CHECKING:
    from mainspring import Mainspring
    from mainspring.domain.execution import Execution
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}


class Letter(BaseModel):
    """What the job of these tests works on."""

    to: str = Field(description="Who gets it.")
    copies: int = 1
    paper: Literal["a4", "letter"] = "a4"
    urgent: bool = False
    lines: list[str] = []


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with a typed job, a free one, and one that tenants may ask for."""

    @app.job("print", queue="printer")
    async def print_letter(payload: Letter) -> None:
        """Do nothing."""

    @app.job("free", on_demand=True, sensitive=["card"])
    async def free(payload: dict[str, object]) -> None:
        """Do nothing."""

    return app


async def stored(site: Site) -> list[Execution]:
    return await site.services.opened.database.read(
        lambda connection: executions.find(connection, Scope("dev"), Filter(), most=10)
    )


async def test_the_form_has_the_fields_of_the_payload_and_its_values_are_typed(site: Site) -> None:
    client = await site.client()
    page = Page((await client.get("/run-a-job", params={"job": "print"}, headers=HTMX)).text)
    names = {each.attributes.get("name", "") for each in page.elements}
    assert {name for name in names if name.startswith("payload.")} == {
        "payload.to", "payload.copies", "payload.paper", "payload.urgent", "payload.lines"
    }  # fmt: skip
    assert "Who gets it." in page.everything
    filled = {
        "job": "print", "payload.to": "5", "payload.copies": "2", "payload.paper": "letter", "payload.urgent": "true",
        "payload.lines": '["a"]', "queue": "slow", "priority": "7", "delay": "60",
    }  # fmt: skip
    answer = await client.post("/run-a-job", data=filled, headers=HTMX)
    [run] = await stored(site)
    assert answer.headers["HX-Redirect"] == f"/ui/runs/{run.id}"
    assert run.payload == {"to": "5", "copies": 2, "paper": "letter", "urgent": True, "lines": ["a"]}
    assert (run.queue, run.priority, run.scheduled_at is not None) == ("slow", 7, True)


async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(site: Site) -> None:
    client = await site.client()
    answer = await client.post("/run-a-job", data={"job": "print", "payload.copies": "many"}, headers=HTMX)
    assert answer.status_code == 422
    page = Page(answer.text)
    invalid = {each.attributes["name"]: each for each in page.elements if "aria-invalid" in each.attributes}
    assert set(invalid) == {"payload.to", "payload.copies"}
    assert invalid["payload.copies"].attributes["value"] == "many"
    assert await stored(site) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"payload_json": "[1]"}, "no JSON object"),
        ({"payload_json": "{"}, "no JSON object"),
        ({"priority": "x"}, "whole numbers"),
        ({"priority": "500"}, "-100 to 100"),
    ],
)
async def test_what_cannot_be_asked_for_is_said(site: Site, said: dict[str, str], problem: str) -> None:
    client = await site.client()
    answer = await client.post("/run-a-job", data={"job": "free", **said}, headers=HTMX)
    assert (answer.status_code, problem in Page(answer.text).everything) == (422, True)


async def test_a_run_is_run_again_with_its_payload_but_never_with_a_mask_for_a_secret(site: Site) -> None:
    run = await site.app.enqueue("free", {"to": "ann", "card": "4111", "apiKey": "hunter2-hunter2"})
    client = await site.client()
    page = Page((await client.get("/run-a-job", params={"again": str(run.id)}, headers=HTMX)).text)
    [field] = page.all("textarea", id="run-json")
    assert '"to": "ann"' in field.text
    assert "card" not in field.text
    assert "apiKey" not in field.text
    assert "has not ended yet" in page.everything


async def test_tenants_run_what_is_made_on_demand_and_own_it(site: Site) -> None:
    client = await site.client("ann", Role.MEMBER, "acme")
    names = [each.text for each in Page((await client.get("/run-a-job")).text).all("option")]
    assert "free" in names
    assert "print" not in names
    await client.post("/run-a-job", data={"job": "free", "payload_json": '{"a": 1}'}, headers=HTMX)
    [run] = await stored(site)
    assert (run.organization_id, run.payload) == ("acme", {"a": 1})
    refused = await client.post("/run-a-job", data={"job": "print", "payload.to": "x"}, headers=HTMX)
    assert refused.status_code == 422
    viewer = await site.client("vera", Role.VIEWER)
    assert (await viewer.get("/run-a-job")).status_code == 403
    assert (await viewer.post("/run-a-job", data={"job": "free"})).status_code == 403
