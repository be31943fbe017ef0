"""The secret key in force: whose it is, where it lies, and what is derived from it."""

from __future__ import annotations

import logging
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.domain.write_door import clean_text
from mainspring.errors import ConfigurationError
from mainspring.security.secret_key import Purpose, SecretKey, secret_key_in_force
from mainspring.settings import Settings
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path

OWN = "an operator's own key, of 32 bytes"


def key_of(database: str, *, host: str = "127.0.0.1", **settings: Any) -> bytes:
    return secret_key_in_force(Settings(database_url=database, **settings), RealWorld(), host=host).value


def test_the_operators_key_is_the_key_itself(tmp_path: Path) -> None:
    assert key_of(f"sqlite:///{tmp_path}/x.db", secret_key=OWN) == OWN.encode()
    assert list(tmp_path.iterdir()) == []


def test_on_sqlite_a_key_is_made_once_beside_the_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mainspring"):
        first = key_of(f"sqlite:///{tmp_path}/x.db")
    assert key_of(f"sqlite:///{tmp_path}/x.db") == first
    [file] = tmp_path.iterdir()
    assert file.name == "x.db.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first) >= 32
    assert caplog.text.count(str(file)) == 1
    assert first.decode() not in caplog.text


def test_the_key_that_was_made_is_shown_in_no_text(tmp_path: Path) -> None:
    key = key_of(f"sqlite:///{tmp_path}/store.db").decode()
    assert key not in clean_text(f"the key is {key}", 1_000)


def test_a_relative_database_has_its_key_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = key_of("sqlite:///some.db?timeout=3")
    assert (tmp_path / "some.db.key").read_bytes() == key


def test_two_databases_have_two_keys(tmp_path: Path) -> None:
    assert key_of(f"sqlite:///{tmp_path}/x.db") != key_of(f"sqlite:///{tmp_path}/y.db")


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def start(_number: int) -> bytes:
        together.wait()
        return key_of(f"sqlite:///{tmp_path}/x.db")

    with RealWorld().thread_pool(8, name="start") as pool:
        assert len(set(pool.map(start, range(8)))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.db.key"]


def test_a_store_in_memory_has_a_key_that_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(key_of("sqlite://")) >= 32
    assert key_of("sqlite://") != key_of("sqlite:///:memory:")
    assert list(tmp_path.iterdir()) == []


def test_postgresql_needs_a_key_and_is_told_the_line_to_run() -> None:
    with pytest.raises(ConfigurationError, match=r"MAINSPRING_SECRET_KEY=\$\(openssl rand -hex 32\)"):
        key_of("postgresql://localhost/x")
    assert key_of("postgresql://localhost/x", secret_key=OWN) == OWN.encode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])  # noqa: S104 - what is refused
def test_an_address_beyond_this_machine_needs_a_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match="can be reached from other machines"):
        key_of(f"sqlite:///{tmp_path}/x.db", host=host)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["localhost", "::1", "127.0.0.2"])
def test_an_address_of_this_machine_needs_none(tmp_path: Path, host: str) -> None:
    assert key_of(f"sqlite:///{tmp_path}/x.db", host=host)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key_of(f"sqlite:///{tmp_path}/x.db")
    (tmp_path / "x.db.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        key_of(f"sqlite:///{tmp_path}/x.db")


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.db.key"
    file.write_text("short\n")
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match="5 bytes"):
        key_of(f"sqlite:///{tmp_path}/x.db")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        key_of(f"sqlite:///{tmp_path}/file/x.db")


def test_derived_keys_follow_rfc_5869_and_tell_nothing_of_the_key() -> None:
    key = SecretKey(OWN.encode())
    # openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:"$OWN" -kdfopt salt:mainspring -kdfopt info:audit HKDF
    assert key.derive(Purpose.AUDIT).hex() == "674f688a171f5fe08ab9378db03a05325b1f9184d1313d59c7a77906d1e0b800"
    assert key.derive(Purpose.AUDIT) != key.value
    assert OWN not in repr(key)
