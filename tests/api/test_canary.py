"""One secret, brought in by every door there is, and looked for in every place that anybody can look into (S37).

The handler gets it as it was given, says it in every way that it has, and nobody finds it: not in the store, the log,
the answers, the metrics, the messages to the outside, nor in what commands write.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import sqlalchemy as sa

from mainspring.api.app import create_api
from mainspring.cli.application import load_app
from mainspring.cli.main import main
from mainspring.domain.access import Role
from mainspring.domain.notification import Message
from mainspring.domain.redaction import ENCRYPTED, REDACTED
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.tables import fences, metadata
from tests.node_role import node_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fastapi import FastAPI

    from mainspring import Mainspring

CANARY = "canary-9a0e1f4c77b2"
REGISTERED = "canary-of-the-settings-51d088e1"

APP = """
import logging

from mainspring import Cron, JobContext, Mainspring, PermanentError

app = Mainspring()


@app.job("leak", on_demand=True, sensitive=["person"])
async def leak(ctx: JobContext, payload: dict) -> dict:
    secret = payload["password"]
    assert payload["person"] == {"name": secret, "account": 12345678}
    assert payload["database"] == f"postgresql://app:{secret}@db/jobs"
    said = f"{secret} at https://x.example/?page=2&access_token={secret} Authorization: Bearer {secret}"
    ctx.log(said, about=payload, secret=secret)
    ctx.progress(50, message=said)
    headers = {"Authorization": f"Bearer {secret}"}
    logging.getLogger("mainspring.leaking").error(said, extra={"headers": headers, "about": payload})
    await ctx.checkpoint({"reached": secret})
    if ctx.attempt == 1:
        raise PermanentError(said) from ValueError(said)
    return {"text": said, "echo": [secret], secret: 1, "headers": {"Cookie": f"session={secret}"}}


@app.job("nightly", schedule=Cron("0 3 * * *"), schedule_payload={"token": "CANARY", "size": 3})
async def nightly(ctx: JobContext, payload: dict) -> None: ...
""".replace("CANARY", CANARY)

PAYLOAD = {
    "password": CANARY,
    "person": {"name": CANARY, "account": 12345678},
    "database": f"postgresql://app:{CANARY}@db/jobs",
    "headers": [{"Authorization": f"Bearer {CANARY}"}],
    "size": 3,
}


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def postgresql_url(new_postgresql_url: Callable[[str], str]) -> str:
    """A database of its own, for a role that can neither change tables nor what the audit holds."""
    return node_url(new_postgresql_url("canary"))


@pytest.fixture(params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_module: str
) -> Mainspring:
    """The application of `APP`, on either database, as the commands find it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, value in {
        "DATABASE_URL": request.getfixturevalue(f"{request.param}_url"),
        "SECRET_KEY": "the secret key of the tests, 32 bytes",
        "SLACK_BOT_TOKEN": REGISTERED,
        "LOG_FORMAT": "json",
        "EGRESS_ALLOW": "127.0.0.1",
        "POLL": "0.1s",
        "APP": f"{worker_module}:app",
    }.items():
        monkeypatch.setenv(f"MAINSPRING_{name}", value)
    (tmp_path / f"{worker_module}.py").write_text(APP)
    monkeypatch.delitem(sys.modules, worker_module, raising=False)
    return load_app(None)


@pytest.fixture
def worker_module(request: pytest.FixtureRequest) -> str:
    return f"leaking_{abs(hash(request.node.nodeid))}"


def test_a_secret_is_found_nowhere(
    app: Mainspring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leaked = asyncio.run(_live(app))

    written = capsys.readouterr()
    places = [*leaked.places, ("standard output", written.out), ("standard error", written.err)]
    commands = (
        ("executions", "list", "--json"),
        ("executions", "show", leaked.job_id),
        ("executions", "show", leaked.job_id, "--json"),
        ("executions", "logs", leaked.job_id, "--json"),
        ("executions", "logs", leaked.job_id),
        ("jobs", "show", "leak", "--json"),
        ("jobs", "show", "nightly", "--json"),
        ("notifications", "list", "--json"),
        ("dump", "--json"),
    )
    places += [(" ".join(arguments), _output_of(monkeypatch, capsys, *arguments)) for arguments in commands]
    places += [(path.name, path.read_bytes().decode("latin-1")) for path in tmp_path.glob("store.db*")]

    assert sorted({place for place, text in places if CANARY in text or REGISTERED in text}) == []
    told = dict(places)
    assert "Job failed" in told["standard output"]  # the log was on, and so was everything else that is looked at
    assert ENCRYPTED in told["executions.payload"]
    assert ENCRYPTED in told["definitions.code"]
    assert ENCRYPTED in told["executions.webhook_url"]
    assert ENCRYPTED in told["notifications.destination"]
    assert REDACTED in told["execution_logs.message"]
    assert '"logger":"mainspring.leaking"' in told["standard output"]
    for place in ("GET /v1/jobs", "dump --json", "executions list --json"):
        assert REDACTED in told[place]
        assert ENCRYPTED not in told[place]
        assert "12345678" not in told[place]


class _Leaked:
    """What was made, and every place that was looked into with the text that it holds."""

    def __init__(self) -> None:
        self.job_id = ""
        self.places: list[tuple[str, str]] = []

    def add(self, place: str, texts: Iterable[str]) -> None:
        self.places.append((place, "\n".join(texts)))


async def _live(app: Mainspring) -> _Leaked:
    """Let the secret go its way, from the request to the end of the second attempt."""
    leaked = _Leaked()
    async with app.running() as node:
        api = create_api(app, node=node)
        async with api.router.lifespan_context(api):
            await _ask(api, leaked)
        await app.opened.database.tx(lambda connection: _tell(app, connection))
        await app.opened.database.read(lambda connection: _look(connection, leaked))
    return leaked


async def _ask(api: FastAPI, leaked: _Leaked) -> None:
    tokens = api.state.services.identity.tokens
    async with _client(api, tokens.create("ada", role=Role.OPERATOR, organization_id="acme")) as ada:

        async def ask(method: str, address: str, name: str | None = None, **options: Any) -> httpx2.Response:
            answer = await ada.request(method, address, **options)
            leaked.add(name or f"{method} {address}", [str(answer.headers), answer.text])
            return answer

        webhook = {"url": f"http://127.0.0.1:9/{CANARY}?key={CANARY}"}  # nobody listens there
        created = await ask("POST", "/v1/jobs", json={"jobType": "leak", "payload": PAYLOAD, "webhook": webhook})
        assert created.status_code == 201, created.text
        job_id = leaked.job_id = created.json()["jobId"]
        assert (await _ended(ada, job_id))["status"] == "failed"
        assert (await ask("POST", f"/v1/jobs/{job_id}/retry")).status_code == 200
        ended = await _ended(ada, job_id)
        assert ended["status"] == "succeeded", ended
        for tail in ("", "/status", "/attempts", "/logs"):
            await ask("GET", f"/v1/jobs/{job_id}{tail}")
        await ask("GET", "/v1/jobs")
        await ask("GET", "/metrics")
        await ask("GET", "/openapi.json")

        # Requests that are refused: in a header, in the query, in the path, in the body.
        for number, headers in enumerate(
            [{"Authorization": f"Bearer {CANARY}"}, {"Cookie": f"session={CANARY}"}, {"X-Api-Key": REGISTERED}]
        ):
            await ask("GET", f"/v1/jobs/{REGISTERED}", f"header {number}", headers=headers)
        await ask("GET", f"/v1/jobs?access_token={CANARY}&status=x", "query")
        await ask("POST", f"/v1/jobs/{REGISTERED}/cancel", "path")
        await ask("POST", "/v1/jobs", "body", json={"jobType": "leak", "payload": PAYLOAD, "extra": CANARY})
        await ask("POST", "/v1/jobs", "broken body", content=f'{{"password": "{CANARY}"')
    async with _client(api, tokens.create("vera", role=Role.VIEWER, organization_id="acme")) as viewer:
        denied = await viewer.post(f"/v1/jobs/{REGISTERED}/cancel?access_token={CANARY}")
        leaked.add("denied", [denied.text])


def _client(api: FastAPI, token: str) -> httpx2.AsyncClient:
    transport, headers = httpx2.ASGITransport(app=api), {"Authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def _ended(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            answer = await client.get(f"/v1/jobs/{job_id}/status")
            if "retry-after" not in answer.headers:
                return answer.json()["job"]


def _tell(app: Mainspring, connection: sa.Connection) -> None:
    """Put a message into the outbox that quotes what went wrong elsewhere."""
    said = f"{REGISTERED}: GET https://x.example/?access_token={CANARY} Authorization: Bearer {CANARY}"
    message = Message(said, said, data={"token": CANARY, "url": said})
    notifications.enqueue(connection, "other", [NewNotification(app.world.new_id(), "webhook", message)])


def _look(connection: sa.Connection, leaked: _Leaked) -> None:
    """Read every column of every table; PostgreSQL counts fences without one."""
    tables = set(metadata.sorted_tables) - ({fences} if connection.dialect.name == "postgresql" else set())
    for table in tables:
        rows = connection.execute(sa.select(table)).all()
        for place, column in enumerate(table.columns):
            leaked.add(f"{table.name}.{column.name}", [str(row[place]) for row in rows])


def _output_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    written = capsys.readouterr()
    assert not ended.value.code, written.err
    return written.out + written.err
