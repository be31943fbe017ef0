"""The pages about webhooks and dependencies: what they show runs, and is what is sent."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime
from inspect import iscoroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from mainspring import JobContext, Mainspring
from mainspring.control.flows import MAX_DEPTH, MAX_WIDTH
from mainspring.domain.execution import Execution, Status, Trigger
from mainspring.domain.job_object import EVENTS, job_json
from mainspring.domain.webhook_signature import new_secret, sign
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "webhooks.md", DOCS / "dependencies.md"]
WEBHOOKS, DEPENDENCIES = (page.read_text(encoding="utf-8") for page in PAGES)


def examples(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


async def run(example: str, names: dict[str, Any]) -> None:
    """Run an example as it stands, with its top-level `await`s, and keep the names that it makes."""
    code = compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, names)  # noqa: S307 - our own page
    if iscoroutine(done):
        await done


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (page.parent / target).exists()] == []


async def test_the_examples_of_the_page_on_dependencies_run_in_their_order(tmp_path: Path) -> None:
    app = Mainspring(database_url=f"sqlite:///{tmp_path}/store.db", poll="0.1s")
    names: dict[str, Any] = {"app": app, "JobContext": JobContext}
    declaring, *asking = examples(DEPENDENCIES, "python")
    await run(declaring, names)
    inside = next(example for example in asking if "@app.job" in example)
    await run(inside, names)
    async with app.running():
        for example in asking:
            if example is not inside:
                await run(example, names)
        assert await names["sum_of_it"].wait() == len("https://example.com/")
        crawl = await app.enqueue("crawl", ["a", "bb"])
        await crawl.wait()


def test_the_page_on_dependencies_names_the_limits() -> None:
    assert f"| branches of a fan-out | {MAX_WIDTH:,} |" in DEPENDENCIES
    assert f"| parts of a chain | {MAX_DEPTH:,} |" in DEPENDENCIES


def documented_event() -> Mapping[str, Any]:
    (example,) = examples(WEBHOOKS, "json")
    return json.loads(example)


def test_the_page_on_webhooks_shows_every_field_and_every_event() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    execution = Execution(
        id=RealWorld().new_id(), environment="dev", job_name="j", queue="default", status=Status.SUCCEEDED, priority=0,
        payload={}, trigger=Trigger.API, created_at=now, updated_at=now,
    )  # fmt: skip
    assert list(documented_event()["data"]) == list(job_json(execution))
    assert set(re.findall(r"\| `(job\.\w+)` \|", WEBHOOKS)) == EVENTS


async def test_the_receiver_on_the_page_takes_what_is_signed_and_nothing_else() -> None:
    secret = new_secret(b"the secret of these tests, once")
    receiver = next(example for example in examples(WEBHOOKS, "python") if "standardwebhooks" in example)
    names: dict[str, Any] = {"secret": secret}
    await run(receiver, names)
    assert isinstance(names["webhook"], Webhook)
    body = json.dumps(documented_event()).encode()
    headers = sign([secret], "msg_1", RealWorld().now(), body)
    assert names["ended_job"](body, headers) == ("job.succeeded", documented_event()["data"])
    with pytest.raises(Exception, match="No matching signature"):
        names["ended_job"](body + b" ", headers)
