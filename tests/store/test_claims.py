from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tests.store.conftest import Lab

async def test_smoke(lab: Lab) -> None:
    one = await lab.enqueue_one()
    c = await lab.claim_one()
    assert c.id == one
    assert await lab.succeed(c) == {one}
    assert (await lab.get(one)).progress.percent == 100
