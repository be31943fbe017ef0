"""Requests that a machine makes up from `/openapi.json`: each is answered, and in a way that is documented."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Schemathesis types its cases by schemas that it leaves open.

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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
from mainspring.domain.access import Role
from mainspring.security.secret_key import SecretKey
from mainspring.security.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET_KEY: Final = "the secret key of the tests, 32 bytes"
CHECKS: Final[list[Any]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS: Final = 9
TAKE_INPUT: Final = {"POST /v1/jobs", "GET /v1/jobs"}
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
def tokens(app: Mainspring) -> Tokens:
    """Makes tokens that hold."""
    key = SecretKey(SECRET_KEY.encode())
    return Tokens(key, issuer="mainspring", audience="mainspring", environment="dev", world=app.world)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("role", "organization"), [(Role.MEMBER, "acme"), (Role.ADMIN, None), (Role.SERVICE, "acme")])
def test_every_request_is_answered_as_documented(
    tokens: Tokens, document: Any, role: Role, organization: str | None, mode: GenerationMode
) -> None:
    header = {"Authorization": f"Bearer {tokens.create('ada', role=role, organization_id=organization)}"}
    statuses = probe(document, mode, header)
    assert (201 in statuses) == (role is Role.MEMBER and mode is GenerationMode.POSITIVE)


def test_every_request_of_a_stranger_is_answered_as_documented(document: Any) -> None:
    assert probe(document, GenerationMode.POSITIVE, {"Authorization": "Bearer swordfish"}) == {200, 401}


def probe(document: Any, mode: GenerationMode, header: dict[str, str]) -> set[int]:
    """Send made-up requests to every route, and return the statuses of the answers."""
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == OPERATIONS
    statuses: set[int] = set()
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.label not in TAKE_INPUT:
            continue  # there is nothing to get wrong

        @settings(
            max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=UNHURRIED
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            if mode is GenerationMode.POSITIVE and case.method == "POST" and isinstance(case.body, dict):
                case.body["jobType"] = "greet"  # nobody finds an existing one by chance
            answer = case.call_and_validate(headers=header, checks=CHECKS)
            statuses.add(int(answer.status_code))

        send()
    return statuses
