"""The secret key in force: the operator's own, or on SQLite one that is made once beside the database (contract §4)."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mainspring.domain.redaction import register_secret
from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from mainspring.settings import Settings
    from mainspring.world import World

_logger = logging.getLogger(__name__)

LEAST_BYTES: Final = 32
LOOPBACK: Final = "127.0.0.1"
_SALT: Final = b"mainspring"
_HASH_BYTES: Final = hashlib.sha256().digest_size
_LINE_TO_RUN: Final = "export MAINSPRING_SECRET_KEY=$(openssl rand -hex 32)"


class Purpose(StrEnum):
    """What a derived key is for: a key that leaks from one use is worth nothing in another."""

    AUDIT = "audit"
    PAYLOAD = "payload"
    """What secrets in payloads are encrypted with."""
    SIGNING = "signing"
    """What callbacks to a service are signed with, one key for each of its API keys."""
    CALLBACK = "callback"
    """What a service proves by that an attempt is its own, one key for each execution."""
    TICKET = "ticket"
    """What opens one WebSocket, whose address has no room for a credential."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The key from which all others come.

    Attributes:
        value: Its bytes, at least 32: the HS256 key of tokens, and nothing else.
    """

    value: bytes = field(repr=False)

    def derive(self, purpose: Purpose, context: str = "") -> bytes:
        """Return the key of 32 bytes for one purpose.

        It is HKDF with SHA-256 (RFC 5869), for output of one block.

        Args:
            purpose: What it is for.
            context: Which of several keys of that purpose, for instance an id.

        Example:
            >>> len(SecretKey(b"0123456789abcdef0123456789abcdef").derive(Purpose.AUDIT))
            32
        """
        pseudorandom_key = hmac.digest(_SALT, self.value, "sha256")
        info = f"{purpose}:{context}" if context else purpose.value
        return hmac.digest(pseudorandom_key, info.encode() + b"\x01", "sha256")[:_HASH_BYTES]


def secret_key_in_force(settings: Settings, world: World, *, host: str = LOOPBACK) -> SecretKey:
    """Return the secret key of this deployment.

    Args:
        settings: Where the operator's key and the database are named.
        world: Gives the randomness of a new key.
        host: The address that is served; beyond loopback the operator must have chosen the key.

    Returns:
        `MAINSPRING_SECRET_KEY`, or else the key that lies beside the SQLite file. A store in memory gets a key that
        ends with the process.

    Raises:
        ConfigurationError: There is none, and the database is PostgreSQL or others than this host may connect; or the
            key file can be read by other users, or holds no key.
    """
    if settings.secret_key is not None:
        return SecretKey(settings.secret_key.get_secret_value().encode())
    if not settings.is_sqlite:
        raise _missing("several programs may use a PostgreSQL database, and all of them need the same key")
    if not is_loopback(host):
        raise _missing(f"{host} can be reached from other machines, and the key decides who is let in")
    database = _sqlite_file(settings.database_url)
    if database is None:
        return SecretKey(world.token().encode())
    return SecretKey(_key_beside(database, world))


def secret_keys_in_force(settings: Settings, world: World) -> list[SecretKey]:
    """Return the secret key of this deployment, and then the one before it while that still holds.

    Raises:
        ConfigurationError: As `secret_key_in_force` does.
    """
    before = settings.secret_key_previous
    earlier = [] if before is None else [SecretKey(before.get_secret_value().encode())]
    return [secret_key_in_force(settings, world), *earlier]


def present_secret_key(settings: Settings) -> SecretKey | None:
    """Return the secret key of this deployment if it has one by now: none is made.

    Raises:
        ConfigurationError: The key file can be read by other users, or holds no key.
    """
    if settings.secret_key is not None:
        return SecretKey(settings.secret_key.get_secret_value().encode())
    database = _sqlite_file(settings.database_url) if settings.is_sqlite else None
    path = None if database is None else _path_beside(database)
    return None if path is None or not path.exists() else SecretKey(_read(path))


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address.

    Example:
        >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _missing(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"MAINSPRING_SECRET_KEY is not set: {reason}. Make one, keep it, and give it to every node: {_LINE_TO_RUN}"
    )


def _sqlite_file(url: str) -> Path | None:
    path = url.partition("://")[2].removeprefix("/").partition("?")[0]
    return None if path in {"", ":memory:"} else Path(path)


def _path_beside(database: Path) -> Path:
    return database.with_name(f"{database.name}.key")


def _key_beside(database: Path, world: World) -> bytes:
    path = _path_beside(database)
    if not path.exists():
        _make(path, world)
    return _read(path)


def _make(path: Path, world: World) -> None:
    """Make the key file; of several processes that try at once one wins, and none ever sees half a key."""
    unfinished = path.with_name(f".{path.name}.{world.token()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(world.token())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(unfinished)
            _logger.warning(
                "made a secret key in %s: keep it with the database, or set MAINSPRING_SECRET_KEY yourself", path
            )
    except OSError as error:
        raise _missing(f"a key cannot be made in {path} ({error.strerror})") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"the secret key in {path} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"the secret key in {path} can be read by other users (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
        )
    if len(key) < LEAST_BYTES:
        raise ConfigurationError(
            f"the secret key in {path} has {len(key)} bytes and needs at least {LEAST_BYTES}: remove the file, and a "
            "new one is made, which ends all tokens"
        )
    register_secret(key.decode("utf-8", "replace"))
    return key
