"""Who is let in, whose jobs they see, what they may do, and what is written about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi import Depends

from mainspring import Mainspring
from mainspring.api.request_body import json_body
from mainspring.api.v1_jobs_bodies import CreateJob
from mainspring.control.executions import ExecutionCommands
from mainspring.domain.access import Actor, ActorKind, Permission, Role, Scope
from mainspring.domain.execution import Status
from mainspring.errors import PermissionDeniedError
from mainspring.security.secret_key import Purpose, SecretKey
from mainspring.security.tokens import Tokens
from mainspring.store.identity import revocations
from mainspring.store.queue import history
from mainspring.store.tables import audit_entries
from tests.audited_things import audit_trail

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

SECRET_KEY = b"the secret key of the tests, 32 bytes"
UNKNOWN = "01890000-0000-7000-8000-000000000001"
ROUTES_OF_A_JOB = [("GET", ""), ("GET", "/status"), ("POST", "/cancel"), ("POST", "/retry")]
ROUTES = [
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs"),
    ("GET", f"/api/v1/exports/quotes_2024-01-30_{UNKNOWN}.csv"),
    *((method, f"/v1/jobs/{UNKNOWN}{end}") for method, end in ROUTES_OF_A_JOB),
]


async def platform_run(door: Door) -> str:
    """Enqueue a run of the platform, which belongs to no organization."""
    return str((await door.app.enqueue("sweep")).id)


async def audit_size(door: Door) -> int:
    count = sa.select(sa.func.count()).select_from(audit_entries)
    return await door.services.database.read(lambda connection: connection.execute(count).scalar_one())


async def fail(door: Door, job_id: str) -> None:
    await door.services.database.tx(
        lambda connection: history.end_live(
            connection, [UUID(job_id)], status=Status.FAILED, stages=history.NOT_STARTED
        )
    )


class TestWhoIsLetIn:
    @pytest.mark.parametrize(("method", "address"), ROUTES)
    async def test_nobody_without_a_token(self, door: Door, method: str, address: str) -> None:
        answer = await (await door.client()).request(method, address)
        assert (answer.status_code, answer.json()["code"]) == (401, "AUTHENTICATION_REQUIRED")
        assert answer.headers["www-authenticate"] == 'Bearer realm="mainspring"'

    @pytest.mark.parametrize(
        ("header", "code"),
        [
            ("", "AUTHENTICATION_REQUIRED"),
            ("Bearer", "AUTHENTICATION_REQUIRED"),
            ("Basic YWRhOmFkYQ==", "AUTHENTICATION_REQUIRED"),
            ("Bearer swordfish", "TOKEN_MALFORMED"),
            ("Bearer \xe9\xe9", "TOKEN_MALFORMED"),
        ],
    )
    async def test_nobody_with_what_is_no_token(self, door: Door, header: str, code: str) -> None:
        client = await door.client()
        answer = await client.get("/v1/jobs", headers=[(b"Authorization", header.encode("latin-1"))])
        assert (answer.status_code, answer.json()["code"]) == (401, code)

    async def test_nobody_by_cookie_or_by_address(self, door: Door) -> None:
        client = await door.client()
        client.cookies.set("session", door.token())
        assert (await client.get("/v1/jobs", params={"access_token": door.token()})).status_code == 401

    async def test_nobody_with_a_token_of_another_key_or_environment(self, door: Door) -> None:
        own: dict[str, Any] = {
            "issuer": "mainspring",
            "audience": "mainspring",
            "environment": "dev",
            "world": door.app.world,
        }
        settings: list[tuple[bytes, dict[str, Any], str]] = [
            (b"x" * 32, {}, "TOKEN_SIGNATURE"),
            (SECRET_KEY, {"environment": "production"}, "TOKEN_CLAIMS"),
            (SECRET_KEY, {"audience": "billing"}, "TOKEN_CLAIMS"),
            (SECRET_KEY, {"issuer": "somebody"}, "TOKEN_CLAIMS"),
        ]
        for key, changes, code in settings:
            token = Tokens(SecretKey(key), **(own | changes)).create("ada", role=Role.ADMIN, organization_id="acme")
            answer = await (await door.client(token)).get("/v1/jobs")
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"] == 'Bearer realm="mainspring", error="invalid_token"'
            assert token not in answer.text

    async def test_nobody_is_asked_for_a_body_before_it_is_known_who_sends_it(self, door: Door) -> None:
        async def probe(body: Annotated[CreateJob, Depends(json_body(CreateJob))]) -> None: ...

        door.api.add_api_route("/probe", probe, methods=["POST"], include_in_schema=False)
        client = await door.client()
        for address in ("/v1/jobs", "/probe"):
            assert (await client.post(address, content=b"{")).status_code == 401


class TestRevocation:
    async def test_a_revoked_token_holds_no_longer_and_others_do(self, door: Door) -> None:
        lost, kept = door.token(), door.token()
        client, other = await door.client(lost), await door.client(kept)
        await door.services.database.tx(
            lambda connection: revocations.revoke_token(connection, token_id(door, lost), keep=timedelta(days=1))
        )
        answer = await client.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_REVOKED")
        assert (await other.get("/v1/jobs")).status_code == 200

    async def test_all_tokens_of_a_user_are_revoked_and_one_made_afterwards_holds(self, door: Door) -> None:
        before = [await door.client(door.token("ada")) for _ in range(2)]
        bob = await door.client(door.token("bob"))
        await door.revoke_tokens_of("ada")
        after = await door.client(door.token("ada"))
        assert [(await client.get("/v1/jobs")).status_code for client in before] == [401, 401]
        assert [(await client.get("/v1/jobs")).status_code for client in (bob, after)] == [200, 200]

    async def test_a_revocation_is_forgotten_when_no_token_can_be_that_old(self, door: Door) -> None:
        database = door.services.database
        await database.tx(lambda connection: revocations.revoke_token(connection, "t1", keep=timedelta(0)))
        await database.tx(lambda connection: revocations.revoke_token(connection, "t2", keep=timedelta(seconds=60)))
        assert (await database.read(revocations.standing_revocations)).tokens == {"t2"}

    async def test_revoking_twice_is_no_error(self, door: Door) -> None:
        for _ in range(2):
            await door.revoke_tokens_of("ada")


def token_id(door: Door, text: str) -> str:
    credential = door.services.identity.tokens.verify(text).credential
    assert credential is not None
    return credential.id


class TestWhoSeesWhat:
    @pytest.mark.parametrize(("method", "end"), ROUTES_OF_A_JOB)
    @pytest.mark.parametrize(
        "stranger", [("bob", Role.MEMBER, "acme"), ("ada", Role.MEMBER, "globex"), ("eve", Role.ADMIN, "globex")]
    )
    async def test_a_foreign_job_is_byte_for_byte_an_unknown_one(
        self, door: Door, method: str, end: str, stranger: tuple[str, Role, str]
    ) -> None:
        ada = await door.client(door.token("ada"))
        job_id = await door.create(ada)
        other = await door.client(door.token(*stranger))
        foreign = await other.request(method, f"/v1/jobs/{job_id}{end}")
        unknown = await other.request(method, f"/v1/jobs/{UNKNOWN}{end}")
        no_id = await other.request(method, f"/v1/jobs/nothing{end}")
        assert foreign.status_code == 404
        assert foreign.content == unknown.content == no_id.content
        without_id = [
            [(name, value) for name, value in answer.headers.items() if name != "x-request-id"]
            for answer in (foreign, unknown, no_id)
        ]
        assert without_id[0] == without_id[1] == without_id[2]
        assert (await ada.get(f"/v1/jobs/{job_id}")).json()["status"] == "queued"

    async def test_a_member_lists_its_own_jobs_and_others_of_the_organization_list_all(self, door: Door) -> None:
        made = {
            (user, organization): await door.create(await door.client(door.token(user, organization=organization)))
            for user, organization in (("ada", "acme"), ("bob", "acme"), ("ada", "globex"))
        }

        async def seen(role: Role, organization: str | None, **query: str) -> set[str]:
            body = (
                await (await door.client(door.token("ada", role, organization))).get("/v1/jobs", params=query)
            ).json()
            assert body["total"] == len(body["jobs"])
            return {job["id"] for job in body["jobs"]}

        of_acme = {made["ada", "acme"], made["bob", "acme"]}
        assert await seen(Role.MEMBER, "acme") == {made["ada", "acme"]}
        for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
            assert await seen(role, "acme") == of_acme
            assert await seen(role, "acme", organizationId="globex") == set()
            assert await seen(role, None) == set(made.values())
            assert await seen(role, None, organizationId="acme") == of_acme

    async def test_runs_of_the_platform_are_not_shown_here_even_to_its_staff(self, door: Door) -> None:
        run = await platform_run(door)
        staff = await door.client(door.token("root", Role.ADMIN, None))
        assert (await staff.get("/v1/jobs")).json()["total"] == 0
        for method, end in ROUTES_OF_A_JOB:
            assert (await staff.request(method, f"/v1/jobs/{run}{end}")).status_code == 404

    async def test_staff_act_on_the_jobs_of_every_organization(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        staff = await door.client(door.token("root", Role.OPERATOR, None))
        assert (await staff.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200

    async def test_nobody_waits_for_a_job_it_does_not_see(self, door: Door, ada: httpx2.AsyncClient) -> None:
        foreign = await door.create(await door.client(door.token("bob", organization="globex")))
        answers = [
            await ada.post("/v1/jobs", json={"jobType": "greet", "dependsOn": [parent]})
            for parent in (foreign, UNKNOWN)
        ]
        assert [answer.status_code for answer in answers] == [422, 422]
        told = [
            answer.json()["detail"].replace(parent, "…")
            for answer, parent in zip(answers, (foreign, UNKNOWN), strict=True)
        ]
        assert told[0] == told[1]

    async def test_an_environment_sees_nothing_of_another(
        self, door: Door, ada: httpx2.AsyncClient, open_door: Any
    ) -> None:
        job_id = await door.create(ada)
        settings = door.app.settings
        other = Mainspring(database_url=settings.database_url, secret_key=settings.secret_key, environment="production")
        async with open_door(other) as production:
            client = await production.client(production.token("root", Role.ADMIN, None))
            assert (await client.get("/v1/jobs")).json()["total"] == 0
            assert (await client.get(f"/v1/jobs/{job_id}")).status_code == 404


class TestWhoMayDoWhat:
    @pytest.mark.parametrize(
        ("role", "allowed"),
        [
            (Role.MEMBER, {"create", "list", "view", "cancel", "retry"}),
            (Role.VIEWER, {"list", "view"}),
            (Role.OPERATOR, {"create", "list", "view", "cancel", "retry"}),
            (Role.ADMIN, {"create", "list", "view", "cancel", "retry"}),
            (Role.SERVICE, set[str]()),
        ],
    )
    async def test_each_role_does_what_the_contract_says_and_denials_are_written(
        self, door: Door, role: Role, allowed: set[str]
    ) -> None:
        ada = await door.client(door.token("ada", Role.ADMIN))
        waiting, failed = await door.create(ada), await door.create(ada)
        await fail(door, failed)
        client = await door.client(door.token("ada", role))
        answers = {
            "create": await client.post("/v1/jobs", json={"jobType": "greet"}),
            "list": await client.get("/v1/jobs"),
            "view": await client.get(f"/v1/jobs/{waiting}/status"),
            "cancel": await client.post(f"/v1/jobs/{waiting}/cancel"),
            "retry": await client.post(f"/v1/jobs/{failed}/retry"),
        }
        assert {name for name, answer in answers.items() if answer.is_success} == allowed
        for answer in answers.values():
            if not answer.is_success:
                assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
                entry = (await door.audit(answer.request.url.path))[0]
                assert (entry.allowed, entry.actor, entry.organization_id) == (False, "ada", "acme")

    async def test_a_single_permission_may_be_added_to_a_role(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        token = door.token("bob", Role.VIEWER, permissions=[Permission.CANCEL_JOBS])
        assert (await (await door.client(token)).post(f"/v1/jobs/{job_id}/cancel")).status_code == 200

    @pytest.mark.parametrize("role", [Role.MEMBER, Role.OPERATOR, Role.ADMIN])
    async def test_staff_create_nothing_here(self, door: Door, role: Role) -> None:
        staff = await door.client(door.token("root", role, None))
        answer = await staff.post("/v1/jobs", json={"jobType": "greet"})
        assert (answer.status_code, answer.json()["code"]) == (403, "ORGANIZATION_REQUIRED")
        assert [entry.allowed for entry in await door.audit("greet")] == [False]

    async def test_an_export_needs_the_permission_to_export(self, door: Door) -> None:
        allowed = await door.client(door.token("ada"))
        denied = await door.client(door.token("ada", Role.VIEWER, permissions=[Permission.CREATE_JOBS]))
        body = {"jobType": "export_report", "payload": {"reportType": "quotes", "format": "csv"}}
        assert (await allowed.post("/v1/jobs", json=body)).status_code == 201
        answer = await denied.post("/v1/jobs", json=body)
        assert answer.status_code == 403
        assert "reports.export_reports" in answer.json()["detail"]

    async def test_the_commands_themselves_ask_for_the_permission(self, door: Door) -> None:
        [job_id] = await door.services.commands.executions.enqueue(
            "greet", [None], organization_id="acme", user_id="ada"
        )
        ada = Actor("ada", ActorKind.USER, "dev", "acme", Role.VIEWER.permissions)
        with pytest.raises(PermissionDeniedError, match="create_jobs"):
            await door.services.commands.executions.enqueue("greet", [None], actor=ada)
        with pytest.raises(PermissionDeniedError, match="cancel_jobs"):
            await door.services.commands.executions.cancel(ada, job_id)
        with pytest.raises(PermissionDeniedError, match="retry_jobs"):
            await door.services.commands.executions.retry(ada, job_id)
        assert [entry.action for entry in await door.audit(str(job_id))] == ["execution.retry", "execution.cancel"]
        assert [entry.allowed for entry in await door.audit("greet")] == [False]


class TestAudit:
    async def test_every_change_leaves_one_entry_that_says_who_what_and_whence(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        job_id = await door.create(ada, priority=3)
        await fail(door, job_id)
        retried = await ada.post(f"/v1/jobs/{job_id}/retry", headers={"X-Request-Id": "r-1"})
        await ada.post(f"/v1/jobs/{job_id}/cancel")
        cancel, retry, create = await door.audit(job_id)
        assert [entry.action for entry in (create, retry, cancel)] == [
            "execution.create", "execution.retry", "execution.cancel"
        ]  # fmt: skip
        assert (create.actor, create.actor_kind, create.organization_id, create.allowed) == (
            "ada",
            "user",
            "acme",
            True,
        )
        assert (create.target_kind, create.environment, create.address) == ("execution", "dev", "127.0.0.1")
        assert create.after == '{"jobName":"greet","priority":3,"queue":"default","runAt":null}'
        assert retried.headers["x-request-id"] == retry.request_id == "r-1"
        assert retry.before == '{"status":"failed","cancelRequested":false,"retryCount":0}'
        assert retry.after == '{"status":"queued","cancelRequested":false,"retryCount":1}'
        assert (cancel.before, cancel.after) == (
            '{"status":"queued","cancelRequested":false,"retryCount":1}',
            '{"status":"cancelled","cancelRequested":false,"retryCount":1}',
        )

    async def test_a_payload_is_never_in_the_audit(self, door: Door, ada: httpx2.AsyncClient) -> None:
        [entry] = await door.audit(await door.create(ada, payload={"secret": "swordfish"}))
        assert "swordfish" not in repr(entry)

    async def test_what_the_application_does_itself_is_not_audited(self, door: Door) -> None:
        cancelled, failed = await door.app.enqueue("sweep"), await door.app.enqueue("greet")
        await cancelled.cancel()
        await fail(door, str(failed.id))
        await door.services.commands.executions.retry(Actor.application("dev"), failed.id)
        assert await audit_size(door) == 0

    async def test_a_job_that_had_been_created_before_is_not_audited_again(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        for _ in range(3):
            await door.create(ada, uniqueKey="k")
        assert await audit_size(door) == 1

    async def test_an_entry_carries_a_mac_that_no_change_survives(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        [(entry, mac)] = await door.services.database.read(
            lambda connection: audit_trail(connection, Scope("dev"), target_id=job_id)
        )
        key = SecretKey(SECRET_KEY).derive(Purpose.AUDIT)
        assert entry.mac(key) == mac
        assert entry.mac(SECRET_KEY) != mac
        changes: dict[str, Any] = {
            "id": UUID(UNKNOWN), "environment": "x", "at": entry.at + timedelta(microseconds=1), "actor": "x",
            "actor_kind": "x", "organization_id": None, "action": "x", "target_kind": "x", "target_id": "x",
            "allowed": False, "reason": "x", "before": "x", "after": "x", "request_id": "x", "address": "x",
        }  # fmt: skip
        assert set(changes) == set(entry.__dataclass_fields__)
        for name, value in changes.items():
            assert replace(entry, **{name: value}).mac(key) != mac, name

    async def test_a_change_whose_entry_cannot_be_written_does_not_happen(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = await door.create(ada)

        def refuse(*_arguments: object) -> None:
            raise RuntimeError("no room for the audit")

        monkeypatch.setattr("mainspring.security.audit.insert_audit_entry", refuse)
        assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 500
        assert (await ada.post("/v1/jobs", json={"jobType": "greet"})).status_code == 500
        listed = (await ada.get("/v1/jobs")).json()
        assert [(job["id"], job["status"]) for job in listed["jobs"]] == [(job_id, "queued")]

    async def test_without_an_audit_only_the_application_acts(self, door: Door) -> None:
        services, app = door.services, door.app
        commands = ExecutionCommands(
            database=services.database,
            registry=app.registry,
            signals=app.opened.signals,
            world=app.world,
            environment="dev",
            cipher=app.cipher,
        )
        ada = Actor("ada", ActorKind.USER, "dev", "acme", Role.ADMIN.permissions)
        with pytest.raises(PermissionDeniedError, match="keeps no audit"):
            await commands.enqueue("greet", [None], actor=ada)
        [job_id] = await commands.enqueue("greet", [None])
        with pytest.raises(PermissionDeniedError, match="keeps no audit"):
            await commands.cancel(replace(ada, organization_id=None), job_id)

    async def test_nobody_but_the_application_takes_part_in_a_transaction(self, door: Door) -> None:
        ada = Actor("ada", ActorKind.USER, "dev", "acme", Role.ADMIN.permissions)
        with pytest.raises(PermissionDeniedError, match="transaction"):
            await door.services.commands.executions.enqueue("greet", [None], actor=ada, tx=object())
