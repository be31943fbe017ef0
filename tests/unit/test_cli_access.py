"""`user`, `key` and `token` at the terminal: what they print, what they keep to themselves, and who did it."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring import Mainspring
from mainspring.cli.main import main
from mainspring.domain.access import Origin
from mainspring.egress.client import Egress
from mainspring.security.identity import Identity
from mainspring.security.secret_key import secret_key_in_force

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainspring.domain.access import Actor

    Command = Callable[..., tuple[int, str, str]]

PASSWORD = "correct horse battery staple"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring` in an empty folder: returns the exit code, and what it wrote to each stream."""
    monkeypatch.chdir(tmp_path)
    cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(PasswordHash, "recommended", lambda: cheap)

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def answer_of(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def who_acts_by(credential: str) -> Actor:
    """Return who acts by a credential in the store of the working directory."""

    async def ask() -> Actor:
        app = Mainspring()
        async with app.connected():
            identity = Identity(
                app.settings,
                database=app.opened.database,
                secret_key=secret_key_in_force(app.settings, app.world),
                egress=Egress(world=app.world),
                world=app.world,
            )
            return await identity.actor_of(credential, Origin())

    return asyncio.run(ask())


def audited(folder: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(folder / "mainspring.db") as connection:
        rows = connection.execute("select action, actor_kind, target_id from mainspring_audit_entries order by id")
        found = rows.fetchall()
    connection.close()
    return found


class TestKeys:
    def test_the_key_of_a_service_is_shown_once_as_the_contract_says(self, command: Command) -> None:
        made = answer_of(command("key", "create", "--service", "billing", "--prefix", "billing.", "--json"))
        assert set(made) == {"id", "key", "signingSecret"}
        assert made["signingSecret"].startswith("whsec_")
        actor = who_acts_by(made["key"])
        assert (actor.subject, actor.name_prefix) == ("billing", "billing.")
        [listed] = answer_of(command("key", "list", "--json"))
        assert (listed["id"], listed["service"], listed["role"]) == (made["id"], "billing", "service")
        assert listed["lastUsedAt"] is not None
        assert made["key"] not in json.dumps(listed)

    def test_people_are_told_to_keep_it(self, command: Command) -> None:
        code, out, err = command("key", "create", "--org", "acme", "--role", "operator")
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["id", "key", "signing"]
        assert "not shown again" in err
        assert who_acts_by(out.splitlines()[1].split()[1]).organization_id == "acme"

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--service", "billing"),
            ("--prefix", "billing."),
            ("--org", "acme"),
            ("--role", "viewer"),
            ("--service", "billing", "--prefix", "billing.", "--org", "acme", "--role", "viewer"),
            ("--service", "billing", "--prefix", "billing.", "--role", "viewer"),
        ],
    )
    def test_it_is_a_service_s_or_an_organization_s(self, command: Command, arguments: tuple[str, ...]) -> None:
        code, _, err = command("key", "create", *arguments)
        assert code == 2
        assert "--service and --prefix, or --org and --role" in err

    def test_a_key_may_be_given_an_end(self, command: Command) -> None:
        answer_of(command("key", "create", "--org", "acme", "--role", "viewer", "--ttl", "90d", "--json"))
        [listed] = answer_of(command("key", "list", "--json"))
        made, end = (datetime.fromisoformat(listed[name]) for name in ("createdAt", "expiresAt"))
        assert end - made == pytest.approx(timedelta(days=90), abs=timedelta(minutes=1))
        assert command("key", "create", "--org", "acme", "--role", "viewer", "--ttl", "soon")[0] == 2

    def test_a_revoked_key_is_listed_as_revoked(self, command: Command, tmp_path: Path) -> None:
        made = answer_of(command("key", "create", "--org", "acme", "--role", "viewer", "--json"))
        assert command("key", "revoke", made["id"])[0] == 0
        [listed] = answer_of(command("key", "list", "--json"))
        assert listed["revokedAt"] is not None
        assert made["id"] in command("key", "list")[1]
        assert audited(tmp_path) == [
            ("api_key.create", "terminal", made["id"]),
            ("api_key.revoke", "terminal", made["id"]),
        ]

    def test_an_unknown_one_cannot_be_revoked(self, command: Command) -> None:
        code, _, err = command("key", "revoke", "01890000-0000-7000-8000-000000000001")
        assert code == 1
        assert "there is no API key" in err


class TestUsers:
    def test_a_user_is_made_with_a_password_from_standard_input(self, command: Command, tmp_path: Path) -> None:
        code, out, err = command("user", "create", "ada", "--role", "admin", typed=f"{PASSWORD}\n")
        assert (code, out) == (0, "")
        assert PASSWORD not in err
        [listed] = answer_of(command("user", "list", "--json"))
        assert (listed["name"], listed["role"], listed["organizationId"]) == ("ada", "admin", None)
        assert "ada" in command("user", "list")[1]
        content = b"".join(path.read_bytes() for path in tmp_path.glob("mainspring.db*"))
        assert PASSWORD.encode() not in content

    def test_the_password_is_no_argument(self, command: Command) -> None:
        assert command("user", "create", "ada", PASSWORD, "--role", "admin")[0] == 2
        assert command("user", "create", "ada", "--role", "admin", "--password", PASSWORD)[0] == 2

    def test_a_short_password_and_a_taken_name_are_refused(self, command: Command) -> None:
        code, _, err = command("user", "create", "ada", "--role", "admin", typed="short\n")
        assert code == 1
        assert "12 to 1,000 characters" in err
        assert command("user", "create", "ada", "--role", "admin", typed=f"{PASSWORD}\n")[0] == 0
        code, _, err = command("user", "create", "ada", "--role", "viewer", typed=f"{PASSWORD}\n")
        assert code == 1
        assert "take another name" in err

    def test_role_password_and_the_end_of_a_user_are_changed_and_audited(
        self, command: Command, tmp_path: Path
    ) -> None:
        for name in ("ada", "bob"):
            command("user", "create", name, "--role", "admin", "--org", "acme", typed=f"{PASSWORD}\n")
        assert command("user", "role", "ada", "viewer")[0] == 0
        assert command("user", "password", "ada", typed=f"{PASSWORD} 2\n")[0] == 0
        for change in ("disable", "enable", "disable"):
            assert command("user", change, "ada")[0] == 0
        ada, bob = answer_of(command("user", "list", "--json"))
        assert (ada["role"], ada["disabledAt"] is None) == ("viewer", False)
        assert bob["disabledAt"] is None
        code, _, err = command("user", "disable", "bob")
        assert code == 1
        assert "last admin" in err
        assert [action for action, _, target in audited(tmp_path) if target == "ada"] == [
            "user.create",
            "user.change_role",
            "user.set_password",
            "user.disable",
            "user.enable",
            "user.disable",
        ]


class TestTokens:
    def test_revoking_is_audited(self, command: Command, tmp_path: Path) -> None:
        assert command("token", "revoke", "t1")[0] == 0
        assert command("token", "revoke", "--user", "ada")[0] == 0
        assert audited(tmp_path) == [("token.revoke", "terminal", "t1"), ("token.revoke", "terminal", "ada")]

    def test_with_a_provider_ours_have_an_issuer_of_their_own(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAINSPRING_JWT_JWKS_URL", "http://127.0.0.1:1/keys")
        assert command("token", "create", "--user", "ada", "--role", "viewer")[0] == 3
        monkeypatch.setenv("MAINSPRING_JWT_ISSUER", "https://id.example")
        code, token, _ = command("token", "create", "--user", "ada", "--role", "viewer")
        assert code == 0
        assert who_acts_by(token.strip()).subject == "ada"
