"""Settings: where they come from, and how a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.errors import ConfigurationError
from mainspring.settings import load_settings, read_duration

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_without_any_the_store_is_a_file_in_the_working_directory() -> None:
    settings = load_settings()
    assert settings.database_url == "sqlite:///mainspring.db"
    assert (settings.lease, settings.heartbeat, settings.org_concurrency) == (timedelta(seconds=15), timedelta(seconds=3), 5)  # fmt: skip  # noqa: E501


def test_keywords_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mainspring.toml").write_text('node = "file"\nenvironment = "file"\nconcurrency = 7\n')
    monkeypatch.setenv("MAINSPRING_ENVIRONMENT", "env")
    monkeypatch.setenv("MAINSPRING_NODE", "env")
    settings = load_settings(node="keyword")
    assert (settings.node, settings.environment, settings.concurrency.upper) == ("keyword", "env", 7)


@pytest.mark.parametrize(
    ("said", "meant"),
    [("15", 15), ("0.5", 0.5), (2, 2), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("1.5m", 90)],
)
def test_a_duration_is_seconds_or_has_a_unit(said: object, meant: float) -> None:
    assert read_duration(said) == timedelta(seconds=meant)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MAINSPRING_LEESE", "3", "MAINSPRING_LEESE is no setting of mainspring; the nearest one is MAINSPRING_LEASE"),
        ("MAINSPRING_LEASE", "soon", r"MAINSPRING_LEASE: 'soon' is not a duration"),
        ("MAINSPRING_LEASE", "1s", r"MAINSPRING_LEASE: .*less than two heartbeats"),
        ("MAINSPRING_CONCURRENCY", "0", r"MAINSPRING_CONCURRENCY: .*greater than or equal to 1"),
        ("MAINSPRING_SECRET_KEY", "short", r"MAINSPRING_SECRET_KEY: it must have at least 32 bytes"),
        ("MAINSPRING_TEST_CRASH_AT", "after_claim:1", r"MAINSPRING_TEST_CRASH_AT: .*MAINSPRING_TEST_MODE=1"),
        ("MAINSPRING_SECRET_KEY_FILE", "/nowhere", r"MAINSPRING_SECRET_KEY_FILE names /nowhere"),
    ],
)
def test_a_wrong_setting_is_told_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=told):
        load_settings()


@pytest.mark.parametrize("name", ["MAINSPRING_PORT", "MAINSPRING_PORT_7007_TCP", "MAINSPRING_SERVICE_HOST"])
def test_what_orchestrators_set_is_ignored(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:7007")
    load_settings()


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k" * 32 + "\n")
    monkeypatch.setenv("MAINSPRING_SECRET_KEY_FILE", str(tmp_path / "key"))
    secret = load_settings().secret_key
    assert secret is not None
    assert secret.get_secret_value() == "k" * 32
    assert "k" * 32 not in repr(load_settings())


def test_a_test_clock_shifts_by_what_its_file_says(tmp_path: Path) -> None:
    clock = tmp_path / "shift"
    clock.write_text("-3600")
    settings: Any = load_settings(test_mode=True, test_database_clock_file=clock)
    assert settings.database_clock_shift()() == -3600.0


def test_the_keys_of_an_identity_provider_need_the_name_of_their_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_JWT_JWKS_URL", "https://id.example/keys")
    with pytest.raises(ConfigurationError, match="MAINSPRING_JWT_ISSUER: it is 'mainspring'"):
        load_settings()
    monkeypatch.setenv("MAINSPRING_JWT_ISSUER", "https://id.example/")
    assert load_settings().jwt_jwks_url == "https://id.example/keys"


def test_the_keys_of_an_identity_provider_need_a_package_of_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_name: str) -> None: ...

    monkeypatch.setattr("importlib.util.find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match=r"mainspring\[jwks\]"):
        load_settings(jwt_jwks_url="https://id.example/keys", jwt_issuer="https://id.example/")


@pytest.mark.parametrize("said", ["100", "4..32"])
def test_settings_that_were_dumped_are_read_again(said: str) -> None:
    settings = load_settings(concurrency=said)
    assert settings.model_dump()["concurrency"] == said
    assert load_settings(**settings.model_dump(include={"concurrency", "threads"})).threads == settings.threads
