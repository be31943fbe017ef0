"""A canary secret, put wherever a job can put it, is found nowhere afterwards (S37)."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import sqlalchemy as sa

from mainspring import JobContext, Mainspring, PermanentError
from mainspring.domain.access import Actor
from mainspring.domain.job_object import job_json
from mainspring.domain.notification import Message
from mainspring.domain.redaction import REDACTED
from mainspring.errors import ExecutionFailedError
from mainspring.security.audit import Audit, Target
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


BY_VALUE = "canary-of-the-settings-1f4c"
BY_FIELD = "canary of the payload / 9a0e"
BY_KEY = "canary-under-a-key-77b2"
IN_AN_ADDRESS = "canary-in-a-dsn-51d0"
IN_A_HEADER = "canaryinaheader88e1"
IN_A_QUERY = "canary-in-a-query-3c9f"
CANARIES = (BY_VALUE, BY_FIELD, BY_KEY, IN_AN_ADDRESS, IN_A_HEADER, IN_A_QUERY)

EVERYWHERE = (
    f"cannot reach postgresql://app:{IN_AN_ADDRESS}@db/jobs with {BY_VALUE} for {BY_FIELD}: "
    f"GET https://x.example/?access_token={IN_A_QUERY}&page=2 Authorization: Bearer {IN_A_HEADER} password={BY_KEY}"
)
STRUCTURED: dict[str, Any] = {
    "text": EVERYWHERE,
    "headers": {"Authorization": f"Bearer {IN_A_HEADER}", "X-Api-Key": BY_KEY},
    "credentials": [BY_KEY],
    "nested": [{"db_password": BY_KEY, EVERYWHERE: 1}],
    "max_tokens": 12,
    "nextPageToken": "page-2",
}


@pytest.fixture
def app(make_app: Callable[..., Mainspring]) -> Mainspring:
    app = make_app(slack_bot_token=BY_VALUE, secret_key="the secret key of the tests, 32 bytes")

    @app.job("leak", sensitive=["person"])
    async def leak(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> Any:
        ctx.log(EVERYWHERE, **STRUCTURED)
        ctx.progress(50, message=EVERYWHERE)
        logging.getLogger("mainspring.leak").warning(EVERYWHERE, extra={"password": BY_KEY, "about": STRUCTURED})
        if payload["fail"]:
            raise PermanentError(EVERYWHERE) from ValueError(EVERYWHERE)
        return STRUCTURED

    @app.job("echo", sensitive=["person"])
    async def echo(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> int:
        assert payload["password"] == BY_KEY
        await ctx.checkpoint({"token": BY_KEY})
        assert ctx.payload["person"]["name"] == BY_FIELD
        return len(payload["person"]["name"])

    return app


async def test_nothing_that_a_job_says_holds_a_secret(
    app: Mainspring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with app.running():
        shown: list[str] = []
        for fail in (False, True):
            payload = {"fail": fail, "person": {"name": BY_FIELD}}
            handle = await app.enqueue("leak", payload)
            if fail:
                with pytest.raises(ExecutionFailedError) as failed:
                    await handle.wait()
                shown.append(str(failed.value))
            else:
                await handle.wait()
            commands, actor = app.commands_and_actor()
            execution = await commands.get(actor.scope, handle.id)
            shown.append(orjson.dumps(job_json(execution, sensitive=("person",))).decode())
        await app.opened.database.tx(lambda connection: _tell_and_audit(app, connection))
        cells = await app.opened.database.read(_cells)

    found = {(canary, column) for column, text in cells for canary in CANARIES if canary in text}
    assert found == set()
    raw = _bytes_of(tmp_path)
    assert [canary for canary in CANARIES if canary.encode() in raw] == []
    logged = "".join(capsys.readouterr())
    assert "Job failed" in logged
    for text in (logged, *shown):
        assert [canary for canary in CANARIES if canary in text] == []
    result = orjson.loads(shown[0])["result"]
    assert (result["max_tokens"], result["nextPageToken"]) == (12, "page-2")


MODULE = """
from mainspring import Mainspring, PermanentError

app = Mainspring(database_url="sqlite:///{folder}/store.db", log_format="json", poll="0.1s")


@app.job("leak", executor="process", sensitive=["person"])
def leak(ctx, payload: dict):
    print(payload)
    ctx.log(str(payload), about=payload)
    ctx.progress(50, message=str(payload))
    raise PermanentError(str(payload)) from ValueError(str(payload))
"""


async def test_a_child_process_tells_no_secret_either(
    make_app: Callable[..., Mainspring],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_app()  # which lays the store down
    (tmp_path / "leaking_jobs.py").write_text(MODULE.replace("{folder}", str(tmp_path)))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    app: Mainspring = importlib.import_module("leaking_jobs").app
    async with app.running():
        handle = await app.enqueue("leak", {"person": {"name": BY_FIELD}})
        with pytest.raises(ExecutionFailedError):
            await handle.wait()
        cells = await app.opened.database.read(_cells)

    assert {column for column, text in cells if BY_FIELD in text} == set()
    assert len([text for column, text in cells if column == "execution_logs.message" and REDACTED in text]) == 2
    assert BY_FIELD not in "".join(capsys.readouterr())


async def test_a_handler_gets_its_payload_and_its_checkpoint_as_they_were_given(app: Mainspring) -> None:
    async with app.running():
        handle = await app.enqueue("echo", {"person": {"name": BY_FIELD}, "password": BY_KEY})
        assert await handle.wait() == len(BY_FIELD)


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("store.db*"))


def _tell_and_audit(app: Mainspring, connection: sa.Connection) -> None:
    said = EVERYWHERE.replace(BY_FIELD, "")  # which is withheld while its job runs, and is no secret of the settings
    message = Message(said, said, data={"token": BY_KEY})
    notifications.enqueue(connection, "other", [NewNotification(app.world.new_id(), "webhook", message)])
    audit = Audit(app.opened.database, app.world, b"k" * 32)
    target = Target("job", "leak")
    actor = Actor.at_terminal("dev", "ada")
    audit.record(connection, actor, "job.test", target, before={"password": BY_KEY}, after={"url": said}, reason=said)


def _cells(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return every text of the store with the column that holds it."""
    return [
        (f"{table.name}.{column.name}", str(value))
        for table in metadata.sorted_tables
        for row in connection.execute(sa.select(table))
        for column, value in zip(table.columns, row, strict=True)
        if value is not None
    ]
