"""`assert_enqueued`: it finds what was asked for, and where it does not, its message says what was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mainspring import Mainspring, testing
from mainspring.errors import MainspringError, NotRunningError
from mainspring.testing import assert_enqueued


@dataclass
class Mail:
    to: str
    copies: int = 1


@pytest.fixture
def app() -> Mainspring:
    app = Mainspring(log_format="json")

    @app.job("mail")
    async def mail(payload: Mail) -> None: ...

    @app.job("clean", on_demand=True)
    async def clean() -> None: ...

    return app


async def test_a_payload_matches_as_its_type_and_as_json_whether_it_ran_or_not(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        asked = await app.enqueue("mail", Mail("ann"))
        for payload in (Mail("ann"), {"to": "ann", "copies": 1}):
            assert [found.id for found in assert_enqueued(app, "mail", payload)] == [asked.id]
        await kit.drain()
        assert [found.id for found in kit.assert_enqueued("mail")] == [asked.id]


async def test_the_number_of_times_is_exact(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        kit.assert_enqueued("mail", times=0)
        await app.enqueue_many("mail", [Mail("ann"), Mail("bob"), Mail("ann")])
        assert len(kit.assert_enqueued("mail", times=3)) == 3
        assert len(kit.assert_enqueued("mail", Mail("ann"), times=2)) == 2
        with pytest.raises(AssertionError, match=r"'to': 'ann'.* asked for once, and was 2 times"):
            kit.assert_enqueued("mail", Mail("ann"), times=1)
        with pytest.raises(AssertionError, match="asked for never, and was 3 times"):
            kit.assert_enqueued("mail", times=0)


async def test_other_facts_count_too_and_misspelt_ones_are_refused(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        await app.enqueue("mail", Mail("ann"), priority=5, organization_id="acme")
        kit.assert_enqueued("mail", priority=5, organization_id="acme")
        with pytest.raises(AssertionError, match="priority is 5"):
            kit.assert_enqueued("mail", priority=4)
        with pytest.raises(TypeError, match="did you mean 'priority'"):
            kit.assert_enqueued("mail", prority=5)


async def test_the_message_shows_what_was_asked_for_and_where_it_differs(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        with pytest.raises(AssertionError, match="Nothing was asked for at all"):
            kit.assert_enqueued("mail")
        await app.enqueue("clean")
        await kit.drain()
        await app.enqueue("mail", Mail("ann"))
        with pytest.raises(AssertionError) as told:
            kit.assert_enqueued("mail", {"to": "bob", "urgent": True})
    differences = "'urgent' is missing; 'copies' is there too; 'to' is 'ann', not 'bob'"
    assert str(told.value).splitlines() == [
        "job 'mail' with payload {'to': 'bob', 'urgent': True} was to be asked for at least once, and was never.",
        "These were asked for, the oldest first:",
        "  clean  None  succeeded",
        f"  mail  {{'to': 'ann', 'copies': 1}}  queued  <- {differences}",
    ]


async def test_of_many_the_message_shows_the_first_ones(app: Mainspring) -> None:
    async with testing.kit(app) as kit:
        await app.enqueue_many("mail", [Mail("a" * 5_000)] * 25)
        with pytest.raises(AssertionError, match="and 5 more") as told:
            kit.assert_enqueued("clean")
    assert len(str(told.value)) < 20 * 300


async def test_an_application_that_is_not_under_test_is_refused(app: Mainspring) -> None:
    with pytest.raises((MainspringError, NotRunningError), match=r"testing\.kit"):
        assert_enqueued(app, "mail")
