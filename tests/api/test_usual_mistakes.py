"""What a stranger's client gets wrong at first, and what it is told: a status, a code, and what to do."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from mainspring.domain.access import Role
from mainspring.security.secret_key import SecretKey
from mainspring.security.tokens import Tokens
from mainspring.world import RealWorld
from tests.api.conftest import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tests.api.conftest import Door

TOKEN: Final = "<a token that holds>"
EXPIRED: Final = "<a token that held yesterday>"


class Yesterday(RealWorld):
    """The world a day ago."""

    def now(self) -> datetime:
        return super().now() - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One request of somebody who has not read the manual.

    Attributes:
        status: What it is answered.
        code: The word that programs match on.
        advice: Parts of the detail that say what is wrong, and what is right.
    """

    status: int
    code: str
    advice: tuple[str, ...]
    method: str = "POST"
    address: str = "/v1/jobs"
    body: str | bytes = '{"jobType": "greet"}'
    authorization: str | None = f"Bearer {TOKEN}"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def wrong_field(body: str, *advice: str) -> Mistake:
    return Mistake(422, "INVALID_REQUEST", advice, body=body)


def wrong_query(query: str, *advice: str) -> Mistake:
    return Mistake(422, "INVALID_REQUEST", advice, method="GET", address=f"/v1/jobs?{query}")


HOW: Final = ("the header `Authorization`", "Bearer", "mainspring token create", "mainspring key create")
MISTAKES: Final = {
    "no token": Mistake(401, "AUTHENTICATION_REQUIRED", HOW, authorization=None),
    "Token instead of Bearer": Mistake(401, "AUTHENTICATION_REQUIRED", HOW, authorization=f"Token {TOKEN}"),
    "a name and a password": Mistake(401, "AUTHENTICATION_REQUIRED", HOW, authorization="Basic YWRhOnNlY3JldA=="),
    "the token in the address": Mistake(
        401, "AUTHENTICATION_REQUIRED", HOW, method="GET", address="/v1/jobs?access_token=x", authorization=None
    ),
    "the bare token": Mistake(401, "AUTHENTICATION_REQUIRED", HOW, authorization=TOKEN),
    "Bearer twice": Mistake(
        401, "TOKEN_MALFORMED", ("no JSON Web Token", "after the word Bearer"), authorization=f"Bearer Bearer {TOKEN}"
    ),
    "a key of somewhere else": Mistake(
        401, "API_KEY_INVALID", ("mainspring key create",), authorization=f"Bearer msk_{'0' * 32}_{'A' * 43}"
    ),
    "an expired token": Mistake(401, "TOKEN_EXPIRED", ("expired", "new one"), authorization=f"Bearer {EXPIRED}"),
    "no body": Mistake(400, "MALFORMED_JSON", ("not JSON", "double quotes"), body=""),
    "a form": Mistake(400, "MALFORMED_JSON", ("not JSON", '{"name": "value"}'), body="jobType=greet"),
    "single quotes": Mistake(400, "MALFORMED_JSON", ("column 2", "double quotes"), body="{'jobType': 'greet'}"),
    "a trailing comma": Mistake(400, "MALFORMED_JSON", ("trailing comma",), body='{"jobType": "greet",}'),
    "a compressed body": Mistake(400, "MALFORMED_JSON", ("it is compressed",), body=gzip.compress(b"{}")),
    "a body in UTF-16": Mistake(400, "MALFORMED_JSON", ("not in UTF-8",), body="{}".encode("utf-16")),
    "a byte order mark": Mistake(400, "MALFORMED_JSON", ("a byte order mark",), body="{}".encode("utf-8-sig")),
    "JSON in a text": wrong_field('"{\\"jobType\\": \\"greet\\"}"', "body: it must be an object", "encoded twice"),
    "a list": wrong_field('[{"jobType": "greet"}]', "body: it must be an object"),
    "a misspelt field": wrong_field('{"jobType": "greet", "priorty": 1}', "priorty", "did you mean `priority`?"),
    "snake_case": wrong_field('{"job_type": "greet"}', "job_type: there is no such", "did you mean `jobType`?"),
    "an invented field": wrong_field('{"jobType": "greet", "organizationId": "x"}', "organizationId: there is no such"),
    "a number in quotes": wrong_field('{"jobType": "greet", "priority": "5"}', "priority", "without quotes"),
    "a number out of range": wrong_field('{"jobType": "greet", "priority": 500}', "priority: it must be at most 100"),
    "a payload in quotes": wrong_field('{"jobType": "greet", "payload": "{}"}', "payload: it must be an object"),
    "a time without a zone": wrong_field(
        '{"jobType": "greet", "scheduledAt": "2024-01-30T10:30:00"}', "scheduledAt: it must say its zone", "00Z"
    ),
    "seconds for an instant": wrong_field(
        '{"jobType": "greet", "scheduledAt": 1706610600}', "scheduledAt: it must be an instant as text", "00Z"
    ),
    "null for no payload": wrong_field('{"jobType": "greet", "payload": null}', "payload: it must be an object"),
    "an unknown job": Mistake(422, "UNKNOWN_JOB_TYPE", ("'gret'", "greet"), body='{"jobType": "gret"}'),
    "a key with a space": Mistake(
        422, "INVALID_REQUEST", ("idempotency-key: it must match",), headers={"Idempotency-Key": "a b"}
    ),
    "a body that is too large": Mistake(
        413, "BODY_TOO_LARGE", ("1,000,000 bytes", "reference"), body=f'{{"payload": "{"x" * 1_000_001}"}}'
    ),
    "an id that is none": Mistake(404, "EXECUTION_NOT_FOUND", ("`jobId`",), method="GET", address="/v1/jobs/12"),
    "another method": Mistake(405, "METHOD_NOT_ALLOWED", ("take PUT", "takes GET, POST"), method="PUT"),
    "a slash at the end": Mistake(404, "NOT_FOUND", ("leave out the slash",), address="/v1/jobs/"),
    "another address": Mistake(404, "NOT_FOUND", ("/docs", "/openapi.json"), address="/api/v2/jobs"),
    "page 0": wrong_query("page=0", "page: it must be at least 1"),
    "a page that is too large": wrong_query("pageSize=500", "pageSize: it must be at most 100"),
    "a page that is no number": wrong_query("page=one", "page: it must be a whole number"),
    "a status that is none": wrong_query("status=done", "status: it must be", "'succeeded'"),
    "a cursor that is none": wrong_query("cursor=2", "cursor: it must be an id such as 0"),
    "a filter that is too long": wrong_query(f"jobType={'x' * 201}", "jobType: it must have at most 200 characters"),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_usual_mistake_is_told_with_the_way_out(door: Door, name: str) -> None:
    mistake = MISTAKES[name]
    yesterday = Tokens.of(door.app.settings, SecretKey(SECRET_KEY.encode()), Yesterday())
    expired = yesterday.create("ada", role=Role.MEMBER, organization_id="acme")
    headers = dict(mistake.headers)
    if mistake.authorization is not None:
        headers["Authorization"] = mistake.authorization.replace(TOKEN, door.token()).replace(EXPIRED, expired)
    client = await door.client()
    content = None if mistake.method == "GET" else mistake.body
    answer = await client.request(mistake.method, mistake.address, content=content, headers=headers)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"]) == (mistake.status, mistake.status, mistake.code)
    for part in mistake.advice:
        assert part in problem["detail"]
    if mistake.status == 405:
        assert answer.headers["allow"] == "GET, POST"
