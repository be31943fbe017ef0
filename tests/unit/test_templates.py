"""Templates in code: what they refuse, and what their handles ask for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from mainspring import Mainspring, testing
from mainspring.domain.template import JobTemplate
from mainspring.errors import DefinitionError, JobNotFoundError


class Parcel(BaseModel):
    """A payload of its own type."""

    weight: int
    city: str = "Rome"


@pytest.fixture
def app() -> Mainspring:
    app = Mainspring(database_url="sqlite://")

    @app.job("weigh")
    async def _weigh(payload: Parcel) -> int:
        return payload.weight

    return app


async def test_a_handle_asks_for_what_was_prepared_and_what_is_said_besides(app: Mainspring) -> None:
    light = app.template("light", job="weigh", payload={"weight": 1}, priority=7, max_retries=4)

    async with testing.kit(app) as kit:
        asked = await light.enqueue({"city": "Paris"}, priority=9, organization_id="acme")
        (ended,) = await kit.drain()

        assert (ended.id, ended.job_name) == (asked.id, "weigh")
        assert ended.payload == {"weight": 1, "city": "Paris"}
        assert (ended.priority, ended.max_retries, ended.organization_id) == (9, 4, "acme")
        assert await asked.wait() == 1


async def test_payloads_may_be_models(app: Mainspring) -> None:
    light = app.template("light", job="weigh", payload=Parcel(weight=1, city="Lyon"))

    async with testing.kit(app) as kit:
        await light.enqueue()
        kit.assert_enqueued("weigh", Parcel(weight=1, city="Lyon"))


@pytest.mark.parametrize(
    ("name", "said", "why"),
    [
        ("a light one", {}, "cannot be used"),
        ("light", {"priority": 101}, "priority is 101"),
        ("light", {"max_retries": 21}, "max_retries is 21"),
        ("light", {"payload": [1]}, "must be an object"),
    ],
)
def test_what_could_never_be_asked_for_is_refused_at_once(
    app: Mainspring, name: str, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(DefinitionError, match=why):
        app.template(name, job="weigh", **said)


def test_two_templates_cannot_have_one_name(app: Mainspring) -> None:
    app.template("light", job="weigh")

    with pytest.raises(DefinitionError, match="two templates named 'light'"):
        app.template("light", job="weigh")


def test_a_template_needs_a_job_that_exists(app: Mainspring) -> None:
    with pytest.raises(JobNotFoundError, match="did you mean 'weigh'"):
        app.template("light", job="wiegh")


# The examples of RFC 7396, appendix A, whose target is an object.
@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_payloads_are_merged_as_the_standard_has_it(target: dict[str, Any], patch: object, merged: object) -> None:
    assert JobTemplate("light", "weigh", payload=target).payload_with(patch) == merged
