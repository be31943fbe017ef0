"""Every route by every actor with its own ids and those of others; a route without an expectation fails the build."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import sqlalchemy as sa

from mainspring.api.doors import ROUTERS
from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Actor, Role
from mainspring.domain.execution import Status
from mainspring.security.secret_key import SecretKey
from mainspring.store.queue import history
from mainspring.store.tables import audit_entries, executions, executions_live
from tests.api.conftest import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from mainspring.control.options import EnqueueOptions
    from tests.api.conftest import Door

SELF_CHECK: Final = "platform-self-check"
UNKNOWN: Final = "01890000-0000-7000-8000-000000000001"
FAR: Final = {"X-Forwarded-For": "203.0.113.7"}
"""What a proxy on this machine adds: the request comes from elsewhere, so that nothing is open for being near."""

NOBODY: Final = ("anonymous", "revoked")
PEOPLE: Final[Mapping[str, tuple[Role, str | None]]] = {
    "ada": (Role.MEMBER, "acme"),
    "bob": (Role.MEMBER, "acme"),
    "admin of acme": (Role.ADMIN, "acme"),
    "mallory": (Role.MEMBER, "globex"),
    "platform viewer": (Role.VIEWER, None),
    "platform operator": (Role.OPERATOR, None),
    "platform admin": (Role.ADMIN, None),
}
KEYS: Final = ("key of acme", "key of a service")
ACTORS: Final = (*NOBODY, *PEOPLE, *KEYS)

OWNERS: Final[Mapping[str, EnqueueOptions]] = {
    "ada": {"organization_id": "acme", "user_id": "ada"},
    "bob": {"organization_id": "acme", "user_id": "bob"},
    "mallory": {"organization_id": "globex", "user_id": "mallory"},
    "the platform": {},
    "nobody": {},
}
"""Whose the execution is that a request names; nobody's id is one that does not exist."""

PLATFORM: Final = {"platform viewer", "platform operator", "platform admin"}
PLATFORM_OPERATORS: Final = PLATFORM - {"platform viewer"}
SEEN: Final[Mapping[str, set[str]]] = {
    "ada": {"ada"},
    "bob": {"bob"},
    "mallory": {"mallory"},
    "admin of acme": {"ada", "bob"},
    "key of acme": {"ada", "bob"},
    **{name: {"ada", "bob", "mallory"} for name in PLATFORM},
}
"""Whose executions an actor sees on `/v1/jobs` (contract §6); runs of the platform are nobody's there."""

MEMBERS: Final = {"ada", "bob", "mallory"}
OPERATORS: Final = {"key of acme", "platform operator"}
ADMINS: Final = {"admin of acme", "platform admin"}
READERS: Final = {*ADMINS, *OPERATORS, "platform viewer"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """Who may use a route, and what it is asked for.

    Attributes:
        may: Who is let in; None: everybody, known or not. The others get 403, strangers 401.
        status: What is answered when all is well.
        sees: Who finds whose; None: the route names no id. The others get 404, as for an unknown id.
        stage: What an execution is before it is named here.
        body: What is sent.
        changes: Whether it changes something, and so leaves one entry in the audit.
    """

    may: set[str] | None
    status: int = 200
    sees: Mapping[str, set[str]] | None = None
    stage: Status = Status.QUEUED
    body: Mapping[str, Any] | None = None
    changes: bool = False


EXPECTED: Final[Mapping[str, Expectation]] = {
    "POST /v1/jobs": Expectation(
        may={*MEMBERS, "key of acme", "admin of acme"}, status=201, body={"jobType": "greet"}, changes=True
    ),
    "GET /v1/jobs": Expectation(may={*MEMBERS, *READERS}),
    "GET /v1/jobs/templates": Expectation(may={*MEMBERS, *READERS}),
    "GET /v1/jobs/{job_id}": Expectation(may={*MEMBERS, *READERS}, sees=SEEN),
    "GET /v1/jobs/{job_id}/status": Expectation(may={*MEMBERS, *READERS}, sees=SEEN),
    "GET /v1/jobs/{job_id}/attempts": Expectation(may={*MEMBERS, *READERS}, sees=SEEN),
    "GET /v1/jobs/{job_id}/events": Expectation(may={*MEMBERS, *READERS}, sees=SEEN, stage=Status.SUCCEEDED),
    "GET /v1/jobs/{job_id}/logs": Expectation(may={*MEMBERS, *READERS}, sees=SEEN),
    "GET /v1/jobs/{job_id}/notifications": Expectation(may={*MEMBERS, *READERS}, sees=SEEN),
    "POST /v1/jobs/{job_id}/cancel": Expectation(may={*MEMBERS, *OPERATORS, *ADMINS}, sees=SEEN, changes=True),
    "POST /v1/jobs/{job_id}/retry": Expectation(
        may={*MEMBERS, *OPERATORS, *ADMINS}, sees=SEEN, stage=Status.FAILED, changes=True
    ),
    "GET /api/v1/exports/{file}": Expectation(
        may={*MEMBERS, *OPERATORS, *ADMINS},
        sees={name: {name} for name in MEMBERS},
        stage=Status.SUCCEEDED,
        changes=True,  # nothing but who has the data now
    ),
    "GET /api/jobs": Expectation(may=PLATFORM),
    "POST /api/jobs/bulk": Expectation(
        may={"platform admin"}, body={"action": "enable", "names": ["nightly"]}, changes=True
    ),
    "POST /api/jobs/register": Expectation(
        may={"key of a service"},
        status=201,
        body={"name": "billing.open", "serviceUrl": "https://billing.example"},
        changes=True,
    ),
    "GET /api/services": Expectation(may=PLATFORM),
    "GET /api/services/{name}": Expectation(may=PLATFORM),
    "PUT /api/services/{name}/jobs": Expectation(may={"key of a service"}, body={"names": []}, changes=True),
    "GET /api/jobs/{name}": Expectation(may=PLATFORM),
    "POST /api/jobs/{name}/trigger": Expectation(may=PLATFORM_OPERATORS, status=202, body={}, changes=True),
    "POST /api/jobs/{name}/enable": Expectation(may=PLATFORM_OPERATORS, body={}, changes=True),
    "POST /api/jobs/{name}/disable": Expectation(may=PLATFORM_OPERATORS, body={"reason": "loud"}, changes=True),
    "PUT /api/jobs/{name}/cron": Expectation(
        may={"platform admin"}, body={"cronExpression": "0 10 * * *"}, changes=True
    ),
    "GET /api/jobs/{name}/history": Expectation(may=PLATFORM),
    "GET /api/jobs/{name}/stats": Expectation(may=PLATFORM),
    "GET /api/jobs/{name}/ticks": Expectation(may=PLATFORM),
    "GET /api/jobs/{name}/preview": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/status": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/stats": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/reports/performance": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/reports/failures": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/reports/trends": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/{job}": Expectation(
        may=PLATFORM, sees={name: {"ada", "bob", "mallory", "the platform"} for name in PLATFORM}
    ),
    "POST /admin/cron-jobs/{job}/trigger": Expectation(may=PLATFORM_OPERATORS, status=202, body={}, changes=True),
    "POST /admin/cron-jobs/{job}/pause": Expectation(may=PLATFORM_OPERATORS, body={"reason": "loud"}, changes=True),
    "POST /admin/cron-jobs/{job}/resume": Expectation(may=PLATFORM_OPERATORS, body={}, changes=True),
    "PATCH /admin/cron-jobs/{job}": Expectation(may={"platform admin"}, body={"timeout": 60}, changes=True),
    "POST /admin/cron-jobs/ws-ticket": Expectation(may=PLATFORM),
    "GET /admin/cron-jobs/events": Expectation(may=PLATFORM, status=422),
    # What opens a socket is asked for with a handshake (tests/api/test_admin_cron_jobs_live.py).
    "WEBSOCKET /admin/cron-jobs/ws": Expectation(may=None, status=405),
    "GET /admin/nodes": Expectation(may=PLATFORM),
    "GET /admin/nodes/wanted": Expectation(may=PLATFORM),
    "GET /admin/audit": Expectation(may={"platform admin"}),
    "GET /admin/jobs/status": Expectation(may=PLATFORM),
    "GET /admin/jobs/runs": Expectation(may=PLATFORM),
    "GET /admin/jobs/platform-validation": Expectation(may=PLATFORM),
    "POST /admin/jobs/trigger/{job_name}": Expectation(may=PLATFORM_OPERATORS, status=202, changes=True),
    # Nothing is wrong here: whoever may come in learns that there is no such alert (tests/api/test_admin_alerts.py).
    "GET /admin/alerts": Expectation(may=PLATFORM),
    "GET /admin/alerts/{alert_id}": Expectation(may=PLATFORM, status=404),
    "POST /admin/alerts/{alert_id}/undo": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    "POST /admin/alerts/{alert_id}/acknowledge": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    "POST /admin/alerts/{alert_id}/snooze": Expectation(
        may=PLATFORM_OPERATORS, status=404, body={"until": "2126-11-22T00:00:00Z"}
    ),
    "POST /admin/alerts/{alert_id}/resolve": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    "POST /admin/alerts/{alert_id}/mute": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    "GET /admin/pause": Expectation(may=PLATFORM),
    "POST /admin/pause": Expectation(may=PLATFORM_OPERATORS, body={}, changes=True),
    "POST /admin/resume": Expectation(may=PLATFORM_OPERATORS, body={}),
    "GET /admin/maintenance": Expectation(may=PLATFORM),
    "POST /admin/maintenance": Expectation(
        may=PLATFORM_OPERATORS,
        status=201,
        body={"covers": "all", "startsAt": "2126-11-22T00:00:00Z", "endsAt": "2126-11-23T00:00:00Z"},
        changes=True,
    ),
    "POST /admin/maintenance/{silence_id}/end": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    # As above: nobody has failed, and no job declares a breaker (tests/api/test_admin_replays.py).
    "GET /admin/breakers": Expectation(may=PLATFORM),
    "PUT /admin/breakers/{job}": Expectation(may=PLATFORM_OPERATORS, status=409, body={"state": "open"}),
    "GET /admin/replays": Expectation(may=PLATFORM),
    "POST /admin/replays": Expectation(
        may=PLATFORM_OPERATORS, status=409, body={"jobName": "nightly", "fingerprint": "f00d"}
    ),
    "GET /admin/replays/{replay_id}": Expectation(may=PLATFORM, status=404),
    "POST /admin/replays/{replay_id}/cancel": Expectation(may=PLATFORM_OPERATORS, status=404, body={}),
    "GET /admin/notifications": Expectation(may=PLATFORM),
    "GET /admin/notifications/analytics": Expectation(may=PLATFORM),
    # They have tokens and sign in nowhere; what others may choose is in tests/api/test_admin_own_notifications.py.
    "GET /admin/notifications/mine": Expectation(may=PLATFORM),
    "PUT /admin/notifications/mine/{channel}": Expectation(may=PLATFORM, status=422, body={}),
    "DELETE /admin/notifications/mine/{channel}": Expectation(may=PLATFORM, status=404),
    "GET /admin/notification-routes": Expectation(may=PLATFORM),
    "GET /admin/notification-routes/jobs/{name}": Expectation(may=PLATFORM),
    "PUT /admin/notification-routes/{name}": Expectation(
        may=PLATFORM_OPERATORS, body={"channel": "slack"}, changes=True
    ),
    "POST /admin/notification-routes/{name}/disable": Expectation(may=PLATFORM_OPERATORS, status=404),
    "DELETE /admin/notification-routes/{name}": Expectation(may=PLATFORM_OPERATORS, status=404),
    "POST /jobs/{name}/run": Expectation(may=PLATFORM_OPERATORS, status=202, changes=True),
    "GET /jobs/executions/{execution_id}": Expectation(
        may=PLATFORM, sees={name: {"the platform"} for name in PLATFORM}
    ),
    # What is signed in by nobody here: the token of the attempt alone opens them (tests/api/test_api_executions.py).
    **{
        f"POST /api/executions/{{execution_id}}/{word}": Expectation(may=None, status=401, body={"success": True})
        for word in ("heartbeat", "progress", "complete")
    },
    "GET /healthz": Expectation(may=None),
    "GET /readyz": Expectation(may=None),
    "GET /openapi.json": Expectation(may=None),
    "GET /docs": Expectation(may=READERS),
    "GET /metrics": Expectation(may=PLATFORM),
}

ROUTES_OF_AN_ID: Final = [route for route, expected in EXPECTED.items() if expected.sees is not None]
ROUTES_WITHOUT_ID: Final = [route for route in EXPECTED if route not in ROUTES_OF_AN_ID]


class Cast:
    """Everybody who knocks, and what is theirs.

    Args:
        door: Where they knock.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def enter(self) -> Cast:
        """Give everybody the credential that is theirs."""
        door = self._door
        lost = door.token("eve")
        await door.revoke_tokens_of("eve")
        keys = KeyCommands(
            AccessChanges(door.services.database, door.services.audit), SecretKey(SECRET_KEY.encode()), door.app.world
        )
        root = Actor.at_terminal("dev", "root")
        credentials: dict[str, str | None] = {
            "anonymous": None,
            "revoked": lost,
            "key of acme": (await keys.create_for_organization(root, "acme", Role.OPERATOR)).key,
            "key of a service": (await keys.create_for_service(root, "billing", "billing.")).key,
        }
        for name, (role, organization) in PEOPLE.items():
            credentials[name] = door.token(name, role, organization)
        assert set(credentials) == set(ACTORS)
        await door.register_jobs()
        self._clients = {name: await door.client(credential, **FAR) for name, credential in credentials.items()}
        job = {"name": "billing.close", "serviceUrl": "https://billing.example"}
        await self._clients["key of a service"].post("/api/jobs/register", json=job)
        return self

    async def knock(self, actor: str, route: str, name: str = "") -> httpx2.Response:
        """Send the request of an actor to a route, for what its last part is called."""
        method, path = route.split()
        if "/trigger" in route:
            await self._end_runs()
        named = "billing" if path.startswith("/api/services") else "nightly"
        address = path.format_map(
            {
                "job_id": name,
                "execution_id": name or UNKNOWN,
                "file": name,
                "alert_id": UNKNOWN,
                "silence_id": UNKNOWN,
                "replay_id": UNKNOWN,
                "name": named,
                "job_name": SELF_CHECK,
                "job": name or "nightly",
                "channel": "email",
            }
        )
        # A stream of topics has no end: those whom it lets in are told that there is no such topic.
        brief = {"wait": "0", "topics": "none"}
        query = {name: value for name, value in brief.items() if name in _parameters(self._door, route)}
        return await self._clients[actor].request(method, address, json=EXPECTED[route].body, params=query)

    async def belonging(self, owner: str, route: str) -> str:
        """Make something that a route can name, and return what it is called there."""
        door, stage = self._door, EXPECTED[route].stage
        if owner == "nobody":
            return _named(route, UNKNOWN)
        job_id = (await door.app.enqueue("greet", **OWNERS[owner])).id
        name = _named(route, str(job_id))

        def end(connection: Any) -> None:
            history.end_live(connection, [job_id], status=stage, stages=history.NOT_STARTED)
            result = f'{{"downloadUrl":"/api/v1/exports/{name}"}}'
            connection.execute(executions.update().where(executions.c.id == job_id).values(result=result))

        if stage.is_final:
            await door.services.database.tx(end)
        _write_export(Path(door.app.settings.export_dir), name)
        return name

    async def _end_runs(self) -> None:
        """End what runs of the platform's jobs there are: the next one is refused as long as one has not ended."""
        live = sa.delete(executions_live).where(executions_live.c.job_name.in_(["nightly", SELF_CHECK]))
        await self._door.services.database.tx(lambda connection: connection.execute(live))

    async def audited(self) -> tuple[int, int]:
        """Return how many entries the audit has of what was allowed, and of what was denied."""
        query = sa.select(audit_entries.c.allowed, sa.func.count()).group_by(audit_entries.c.allowed)
        counts = await self._door.services.database.read(
            lambda connection: {bool(allowed): int(count) for allowed, count in connection.execute(query)}
        )
        return counts.get(True, 0), counts.get(False, 0)


def _parameters(door: Door, route: str) -> set[str]:
    method, path = route.split()
    operation: dict[str, Any] = door.api.openapi()["paths"].get(path, {}).get(method.lower(), {})
    return {parameter["name"] for parameter in operation.get("parameters", ())}


def _write_export(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"1\r\n")


def _named(route: str, job_id: str) -> str:
    return f"quotes_2024-01-30_{job_id}.csv" if "{file}" in route else job_id


@pytest.fixture
async def cast(door: Door) -> Cast:
    """Everybody."""
    return await Cast(door).enter()


def expected_status(route: str, actor: str, owner: str | None = None) -> int:
    """Return what a route must answer an actor who asks for what is somebody's."""
    expectation = EXPECTED[route]
    if expectation.may is not None and actor in NOBODY:
        return 401
    if expectation.may is not None and actor not in expectation.may:
        return 403
    if expectation.sees is not None and owner not in expectation.sees.get(actor, set()):
        return 404
    return expectation.status


def test_every_route_has_an_expectation_and_every_expectation_a_route(door: Door) -> None:
    documented = {
        f"{method.upper()} {path}" for path, operations in door.api.openapi()["paths"].items() for method in operations
    }
    served = {
        f"{method} {getattr(route, 'path_format', '')}"
        for router in ROUTERS
        for route in router.routes
        for method in getattr(route, "methods", {"WEBSOCKET"}) - {"HEAD"}  # which is a GET without its body
    }
    assert documented <= served
    assert served == set(EXPECTED)


@pytest.mark.parametrize("route", ROUTES_WITHOUT_ID)
async def test_a_route_lets_in_whom_it_should_and_writes_whom_it_does_not(cast: Cast, route: str) -> None:
    for actor in ACTORS:
        before = await cast.audited()
        answer = await cast.knock(actor, route)
        assert answer.status_code == expected_status(route, actor), (actor, answer.text)
        await _require_trace(cast, before, route, answer.status_code)


@pytest.mark.parametrize("route", ROUTES_OF_AN_ID)
async def test_a_route_gives_everybody_what_is_theirs_and_nobody_else(cast: Cast, route: str) -> None:
    for actor, owner in itertools.product(ACTORS, OWNERS):
        name = await cast.belonging(owner, route)
        before = await cast.audited()
        answer = await cast.knock(actor, route, name)
        assert answer.status_code == expected_status(route, actor, owner), (actor, owner, answer.text)
        await _require_trace(cast, before, route, answer.status_code)
        if answer.status_code == 404:
            unknown = await cast.knock(actor, route, _named(route, UNKNOWN))
            assert (answer.content, _stable(answer)) == (unknown.content, _stable(unknown)), (actor, owner)


async def test_a_list_shows_everybody_what_is_theirs_and_nothing_else(cast: Cast) -> None:
    for owner in OWNERS:
        await cast.belonging(owner, "GET /v1/jobs/{job_id}")
    for actor, seen in SEEN.items():
        body = (await cast.knock(actor, "GET /v1/jobs")).json()
        assert {job["userId"] for job in body["jobs"]} == seen, actor
        assert body["total"] == len(seen), actor


async def _require_trace(cast: Cast, before: tuple[int, int], route: str, status: int) -> None:
    """A denial leaves one entry, a change that was made leaves one, and nothing else leaves any."""
    allowed, denied = await cast.audited()
    made = EXPECTED[route].changes and status < 400
    assert (allowed - before[0], denied - before[1]) == (int(made), int(status == 403)), (route, status)


def _stable(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}
