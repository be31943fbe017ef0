"""Requests that a machine makes up from `/openapi.json`: each is answered, and in a way that is documented."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Schemathesis types its cases by schemas that it leaves open.

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mainspring import JobContext, Mainspring
from mainspring.api.app import create_api
from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Actor, Role
from mainspring.security.audit import Audit
from mainspring.security.secret_key import Purpose, SecretKey
from mainspring.security.tokens import Tokens
from tests.api.test_authorization_matrix import ACTORS, NOBODY, PEOPLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SECRET_KEY: Final = "the secret key of the tests, 32 bytes"
CHECKS: Final[list[Any]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CREATE: Final = "POST /v1/jobs"
CALLBACKS: Final = "/api/executions/"
ENDLESS: Final = "GET /admin/cron-jobs/events"
"""A stream that goes on for as long as somebody listens: here it is asked for a topic that does not exist."""
NAMES_WHAT_EXISTS: Final = {"template", "webhook", "dependsOn", "onParentFailure"}
"""Fields of a creation whose values nobody finds by chance."""
TAKE_INPUT: Final = {CREATE, "GET /v1/jobs", "GET /v1/jobs/{job_id}/logs"}
UNHURRIED: Final = [HealthCheck.too_slow, HealthCheck.filter_too_much]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Mainspring:
    """An application that nobody runs."""
    folder = tmp_path_factory.mktemp("probed")
    shutil.copy(migrated_store, folder / "store.db")
    app = Mainspring(database_url=f"sqlite:///{folder}/store.db", secret_key=SECRET_KEY, export_dir=folder)

    @app.job("greet", on_demand=True)
    async def _greet(ctx: JobContext[Any]) -> None: ...

    return app


@pytest.fixture(scope="module")
def document(app: Mainspring) -> Iterator[Any]:
    """The API by its own description."""
    yield schemathesis.openapi.from_asgi("/openapi.json", create_api(app))
    shutdown_lifespans()


@pytest.fixture(scope="module")
def credentials(app: Mainspring) -> dict[str, str | None]:
    """What everybody in the matrix of authorization sends; None: nothing."""
    return asyncio.run(_credentials(app))


async def _credentials(app: Mainspring) -> dict[str, str | None]:
    secret_key = SecretKey(SECRET_KEY.encode())
    tokens = Tokens.of(app.settings, secret_key, app.world)
    root = Actor.at_terminal("dev", "root")
    lost = tokens.create("eve", role=Role.MEMBER, organization_id="acme")
    async with app.connected():
        database = app.opened.database
        changes = AccessChanges(database, Audit(database, app.world, secret_key.derive(Purpose.AUDIT)))
        await changes.revoke_tokens_of(root, "eve")
        keys = KeyCommands(changes, secret_key, app.world)
        of_acme = await keys.create_for_organization(root, "acme", Role.OPERATOR)
        of_service = await keys.create_for_service(root, "billing", "billing.")
    people = {
        name: tokens.create(name, role=role, organization_id=organization)
        for name, (role, organization) in PEOPLE.items()
    }
    made = {"key of acme": of_acme.key, "key of a service": of_service.key}
    return {"anonymous": None, "revoked": lost, **people, **made}


@pytest.fixture(scope="module")
def ended_job(app: Mainspring) -> str:
    """The id of a job of ada that has ended: made-up ids name nothing."""

    async def end() -> str:
        async with app.connected():
            job = await app.enqueue("greet", organization_id="acme", user_id="ada")
            commands, actor = app.commands_and_actor()
            await commands.cancel(actor, job.id)
            return str(job.id)

    return asyncio.run(end())


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_request_of_a_member_is_answered_as_documented(
    document: Any, credentials: dict[str, str | None], ended_job: str, mode: GenerationMode
) -> None:
    statuses = probe(document, mode, {"ada": credentials["ada"]}, ended_job, examples=5)["ada"]
    expected = {200, 201, 404, 409} if mode is GenerationMode.POSITIVE else {422}
    assert expected <= statuses


@pytest.mark.timeout(120)
def test_every_request_of_everybody_else_is_answered_as_documented(
    document: Any, credentials: dict[str, str | None], ended_job: str
) -> None:
    others = {actor: credentials[actor] for actor in ACTORS if actor != "ada"}
    statuses = probe(document, GenerationMode.POSITIVE, others, ended_job, examples=2)
    # Whoever asks so often without a credential that holds is slowed down.
    assert {actor for actor in others if 401 in statuses[actor] - {429}} == set(NOBODY)


def probe(
    document: Any, mode: GenerationMode, credentials: Mapping[str, str | None], ended_job: str, *, examples: int
) -> Mapping[str, set[int]]:
    """Let everybody send the same made-up requests to every route, and return the statuses of the answers to each."""
    statuses = {actor: set[int]() for actor in credentials}
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == sum(len(at_path) for at_path in document.raw_schema["paths"].values())
    asked: list[str] = []
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.label not in TAKE_INPUT:
            continue  # there is nothing to get wrong

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=UNHURRIED,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            if mode is GenerationMode.POSITIVE and case.operation.label == CREATE and isinstance(case.body, dict):
                case.body = {name: value for name, value in case.body.items() if name not in NAMES_WHAT_EXISTS}
                case.body["jobType"] = "greet"
            if len(asked) % 2 == 0 and "job_id" in (case.path_parameters or {}):
                case.path_parameters["job_id"] = ended_job
            if case.operation.label == ENDLESS:
                case.query = {"topics": "none"}
            asked.append(case.method)
            for actor, credential in credentials.items():
                note(actor)
                header = {} if credential is None else {"Authorization": f"Bearer {credential}"}
                answer = case.call_and_validate(headers=header, checks=CHECKS)
                if case.operation.path.startswith(CALLBACKS):
                    assert answer.status_code in {401, 429}, "an attempt's token opens them, and nobody has one here"
                else:
                    statuses[actor].add(int(answer.status_code))

        send()
    return statuses
