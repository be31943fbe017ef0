"""Requests that a machine makes up from `/openapi.json`: each is answered, and in a way that is documented."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Schemathesis types its cases by schemas that it leaves open.

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(
    ("role", "organization"), [(Role.MEMBER, "acme"), (Role.ADMIN, None), (Role.SERVICE, "acme"), (None, None)]
)
def test_every_request_is_answered_as_documented(
    app: Mainspring, document: Any, role: Role | None, organization: str | None, mode: schemathesis.GenerationMode
) -> None:
    tokens = Tokens(
        SecretKey(SECRET_KEY.encode()), issuer="mainspring", audience="mainspring", environment="dev", world=app.world
    )
    token = "swordfish" if role is None else tokens.create("ada", role=role, organization_id=organization)
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == OPERATIONS
    for operation in operations:

        @settings(
            max_examples=10,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def probe(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

        probe()
