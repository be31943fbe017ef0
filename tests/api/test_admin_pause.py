"""`/admin/pause` and `/admin/resume`: the incident switch over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Role

if TYPE_CHECKING:
    from tests.api.conftest import Door

UNTIL = "2126-11-22T00:00:00.000Z"
OPEN = {"paused": False, "since": None, "until": None, "by": None, "reason": None, "stopped": 0}


async def test_everything_is_paused_with_who_why_and_until_when_and_resumed(door: Door) -> None:
    olga = await door.client(door.token("olga", Role.OPERATOR, None))
    assert (await olga.get("/admin/pause")).json() == OPEN
    body = {"reason": "incident 7", "until": UNTIL, "stopRuns": True}
    paused = (await olga.post("/admin/pause", json=body)).json()
    assert (paused["paused"], paused["by"], paused["reason"], paused["until"]) == (True, "olga", "incident 7", UNTIL)
    assert (await olga.get("/admin/pause")).json() == paused
    assert (await olga.post("/admin/resume")).json() == OPEN
    assert (await olga.post("/admin/resume")).json() == OPEN


async def test_a_past_end_is_refused(door: Door) -> None:
    olga = await door.client(door.token("olga", Role.OPERATOR, None))
    refused = await olga.post("/admin/pause", json={"until": "2020-01-01T00:00:00Z"})
    assert (refused.status_code, refused.json()["code"]) == (422, "PAST_INSTANT")
    assert not (await olga.get("/admin/pause")).json()["paused"]
