"""Every setting and its default: keywords win over `MAINSPRING_*`, and these over `mainspring.toml`."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import ipaddress
import os
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import unquote

import orjson
from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from mainspring.domain.redaction import is_secret_key, register_secret
from mainspring.domain.slots import SlotBounds
from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX: Final = "MAINSPRING_"
OWN_ISSUER: Final = "mainspring"
"""Who issues the tokens that the secret key signs, unless `JWT_ISSUER` says otherwise."""
_SET_BY_ORCHESTRATORS: Final = re.compile(r"MAINSPRING_(PORT|PORT_.*|SERVICE_.*)")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_OWN_CHANNELS: Final = ("slack", "email", "webhook")
_LEAST_OF_LETTERS: Final = 16
_MOST_THREADS: Final = 1_000
_PASSWORD: Final = re.compile(r"://[^/@:]*:([^/@]+)@")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SECRETS: Final = frozenset(
    {
        "SECRET_KEY",
        "SECRET_KEY_PREVIOUS",
        "SLACK_WEBHOOK_URL",
        "SLACK_BOT_TOKEN",
        "EMAIL_SMTP_URL",
        "WEBHOOK_URL",
        "WEBHOOK_SECRET",
        "CHANNELS",
        "DATABASE_URL",
        "REDIS_URL",
        "SENTRY_DSN",
    }
)


def read_duration(value: object) -> object:
    """Return a duration given as seconds (decimals allowed) or as `30s`, `5m`, `1h`.

    Example:
        >>> read_duration("1.5m")
        datetime.timedelta(seconds=90)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        msg = f"{value!r} is not a duration: write seconds such as `15` or `0.5`, or `500ms`, `30s`, `5m`, `1h`"
        raise ValueError(msg)
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _read_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        msg = 'it must be JSON such as {"pager": {"url": "https://pager.example/"}}'
        raise ValueError(msg) from None


Duration = Annotated[timedelta, BeforeValidator(read_duration)]
Place = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, Path) else value)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Slots = Annotated[SlotBounds, BeforeValidator(SlotBounds.read), PlainSerializer(str)]
ChannelSettings = Annotated[dict[str, dict[str, Any]], BeforeValidator(_read_json)]
RouteSettings = Annotated[list[dict[str, Any]], BeforeValidator(_read_json)]
CheckSeverities = Annotated[dict[str, Literal["error", "warning", "off"]], BeforeValidator(_read_json)]


class Settings(BaseSettings):
    """The settings of one node (contract §4).

    Example:
        >>> Settings(database_url="sqlite://").org_concurrency
        5
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", enable_decoding=False, toml_file="mainspring.toml", validate_default=False
    )

    database_url: str = "sqlite:///mainspring.db"
    database_direct_url: str | None = None
    database_schema: str = Field(default="mainspring", pattern=r"^[a-z_][a-z0-9_]{0,40}$")
    redis_url: str | None = None
    app: str | None = None
    code_version: str | None = Field(default=None, min_length=1, max_length=100)
    secret_key: SecretStr | None = None
    secret_key_previous: SecretStr | None = None
    environment: str = Field(default="dev", pattern=r"^[A-Za-z0-9._-]{1,50}$")
    node: str = Field(default_factory=socket.gethostname)
    public_url: str | None = None
    concurrency: Slots = SlotBounds(100, 100)
    threads: Slots = Field(default_factory=lambda: SlotBounds.read(4 * (os.cpu_count() or 1)))
    target_wait: Duration = timedelta(seconds=30)
    queues: Names = ()
    lease: Duration = timedelta(seconds=15)
    heartbeat: Duration = timedelta(seconds=3)
    poll: Duration = timedelta(seconds=1)
    shutdown_grace: Duration = timedelta(seconds=30)
    callback_lease: Duration = timedelta(seconds=60)
    org_concurrency: int = Field(default=5, ge=1)
    retention_days: float = Field(default=90, ge=0)
    egress_allow: Names = ()
    slack_webhook_url: SecretStr | None = None
    slack_bot_token: SecretStr | None = None
    slack_channel: str | None = None
    email_smtp_url: SecretStr | None = None
    email_sender: str | None = None
    email_to: str | None = None
    webhook_url: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    routes: RouteSettings = Field(default_factory=list[dict[str, Any]])
    templates: Place | None = None
    alert_cooldown: Duration = timedelta(minutes=10)
    notification_rate: str = "20/5m"
    org_notification_rate: str = "120/m"
    own_webhook_hosts: Names = ()
    channels: ChannelSettings = Field(default_factory=dict[str, dict[str, Any]], repr=False)
    sentry_dsn: SecretStr | None = None
    log_format: Literal["console", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    deadman_url: str | None = None
    jwt_issuer: str = OWN_ISSUER
    jwt_audience: str = "mainspring"
    jwt_jwks_url: str | None = None
    trusted_proxies: Names = ()
    export_dir: Place = "exports"
    export_days: float = Field(default=7, gt=0)
    check: CheckSeverities = Field(default_factory=dict[str, Literal["error", "warning", "off"]])

    test_mode: bool = False
    test_clock_file: Path | None = None
    test_database_clock_file: Path | None = None
    test_crash_at: str | None = None
    test_seed: int | None = None

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:  # noqa: PLR2004 - said in the message
            msg = "it must have at least 32 bytes; make one with `openssl rand -hex 32`"
            raise ValueError(msg)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                msg = f"{text!r} is no address and no range: write `10.0.0.7` or `10.0.0.0/8`"
                raise ValueError(msg) from None
        return value

    def model_post_init(self, _context: object, /) -> None:
        """Refuse what does not fit together, and test seams outside of tests."""
        if self.lease < 2 * self.heartbeat:
            self._refuse("LEASE", f"it is {self.lease}, less than two heartbeats of {self.heartbeat}")
        if self.threads.upper > _MOST_THREADS:
            self._refuse("THREADS", f"it is {self.threads.upper}; at most {_MOST_THREADS} are sensible in one process")
        if self.target_wait <= timedelta(0):
            self._refuse("TARGET_WAIT", "it must be longer than 0 s")
        if self.jwt_jwks_url is not None:
            self._require_provider()
        for name in ("test_clock_file", "test_database_clock_file", "test_crash_at", "test_seed"):
            if getattr(self, name) is not None and not self.test_mode:
                self._refuse(name.upper(), "it is a test seam, refused unless MAINSPRING_TEST_MODE=1")

    def _require_provider(self) -> None:
        if self.jwt_issuer == OWN_ISSUER:
            why = "set it to the `iss` of the tokens that the keys at JWT_JWKS_URL sign; it is that of our own"
            self._refuse("JWT_ISSUER", f"it is {self.jwt_issuer!r}: {why}")
        if importlib.util.find_spec("cryptography") is None:
            self._refuse("JWT_JWKS_URL", "it needs a package that is not installed: pip install 'mainspring[jwks]'")

    @staticmethod
    def _refuse(name: str, why: str) -> None:
        msg = f"{PREFIX}{name}: {why}"
        raise ConfigurationError(msg)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords win over the environment, the environment over `mainspring.toml`."""
        return (init_settings, env_settings, _SecretFiles(settings_cls), TomlConfigSettingsSource(settings_cls))

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def retention(self) -> timedelta:
        """How old an ended execution may get."""
        return timedelta(days=self.retention_days)

    @property
    def export_lifetime(self) -> timedelta:
        """How long a finished export may be downloaded."""
        return timedelta(days=self.export_days)

    def channel_settings(self, kind: str) -> dict[str, Any]:
        """Return the settings of a kind of channel: of ours those named `<KIND>_…`; and what `CHANNELS` holds for it.

        Example:
            >>> Settings(database_url="sqlite://", slack_channel="#ops").channel_settings("slack")
            {'channel': '#ops'}
        """
        names = [name for name in type(self).model_fields if name.startswith(f"{kind}_") and kind in _OWN_CHANNELS]
        named = {name.removeprefix(f"{kind}_"): getattr(self, name) for name in names}
        return {name: value for name, value in named.items() if value is not None} | self.channels.get(kind, {})

    def secrets(self) -> list[str]:
        """Return what these settings hold and nothing may show: every secret, and the passwords in addresses."""
        values = [getattr(self, name) for name in type(self).model_fields]
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        secrets += [part.strip() for secret in secrets for part in secret.split(",") if "," in secret]
        secrets += [
            text
            for options in self.channels.values()
            for name, text in options.items()
            if isinstance(text, str) and (is_secret_key(name) or name.endswith(("key", "url")))
        ]
        addresses = [self.database_url, self.database_direct_url or "", self.redis_url or "", *secrets]
        passwords = [found[1] for found in map(_PASSWORD.search, addresses) if found]
        secrets += [*passwords, *map(unquote, passwords)]
        # A password such as `postgres` is found everywhere: taking it out would leave logs that nobody can read.
        return [secret for secret in secrets if not (secret.isalpha() and len(secret) < _LEAST_OF_LETTERS)]

    def clock_shift(self) -> Callable[[], float] | None:
        """Return what shifts this node's wall clock: the test seam, or nothing."""
        return _shift_from(self.test_clock_file) if self.test_clock_file else None

    def database_clock_shift(self) -> Callable[[], float]:
        """Return what shifts the store's clock: the test seam, or always 0."""
        return _shift_from(self.test_database_clock_file) if self.test_database_clock_file else lambda: 0.0


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `MAINSPRING_<NAME>_FILE` names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401 - pydantic's
        """Return the content of the file, without the newline at its end."""
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if path is None or field is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as error:
            msg = f"{PREFIX}{field_name.upper()}_FILE names {path}, which cannot be read: {error.strerror}"
            raise ConfigurationError(msg) from error

    def __call__(self) -> dict[str, Any]:
        """Return all secrets that files hold."""
        values = {name.lower(): self.get_field_value(name, name.lower())[0] for name in _SECRETS}
        return {name: value for name, value in values.items() if value is not None}


def program_version() -> str:
    """Return the version of mainspring that is installed."""
    return importlib.metadata.version("mainspring")


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - checked by the model
    """Return the settings of this process.

    Args:
        **overrides: Settings that win over the environment and `mainspring.toml`.

    Raises:
        ConfigurationError: A value is out of range, or a name is unknown; the message names both and the way out.
    """
    _refuse_unknown_names()
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(problem['loc'][0]).upper() if problem['loc'] else ''}: {_said(problem)}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(problems) from None
    for secret in settings.secrets():
        register_secret(secret)
    return settings


def _said(problem: Any) -> str:  # noqa: ANN401 - pydantic's error details
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][0]), Settings.model_fields, n=1)
        return "unknown setting" + (f"; did you mean {near[0]}?" if near else "")
    return str(problem["msg"]).removeprefix("Value error, ")


def _refuse_unknown_names() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{PREFIX}{name}_FILE" for name in _SECRETS}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not _SET_BY_ORCHESTRATORS.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            msg = f"{name} is no setting of mainspring; the nearest one is {near[0]}"
            raise ConfigurationError(msg)


def _shift_from(path: Path) -> Callable[[], float]:
    """Return a function that reads the seconds in `path`, at most ten times a second."""
    from time import monotonic  # noqa: TID251 - a test seam that must not depend on the clock it shifts

    state = {"read_at": -1.0, "shift": 0.0}

    def shift() -> float:
        if monotonic() - state["read_at"] > 0.1:  # noqa: PLR2004 - contract §4
            try:
                state["shift"] = float(path.read_text(encoding="utf-8").strip() or 0)
            except (OSError, ValueError):
                state["shift"] = 0.0
            state["read_at"] = monotonic()
        return state["shift"]

    return shift
