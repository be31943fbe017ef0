"""What is secret in payloads and checkpoints: in cipher in the store, and in clear for its handler alone (ADR 17)."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from mainspring.domain.redaction import ENCRYPTED, may_hold_secret, redact_json, replace_secrets, texts_in
from mainspring.domain.write_door import verbatim_json
from mainspring.errors import PermanentError
from mainspring.security.secret_key import Purpose, SecretKey, secret_keys_in_force

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    from mainspring.settings import Settings
    from mainspring.world import World

_WHOSE: Final = b"mainspring payload"
_WEBHOOKS: Final = "/webhooks"
"""Stands where the name of a job stands in payloads, and no job can be called so."""


class UnreadableSecretError(PermanentError):
    """A secret in the store was encrypted under a key that this node does not have."""

    code = "SECRET_UNREADABLE"


@dataclass(slots=True)
class Decrypted:
    """JSON in clear.

    Attributes:
        value: The JSON.
        secrets: Every text that had been encrypted, and every number as text.
    """

    value: Any
    secrets: list[str] = field(default_factory=list[str])


class PayloadCipher:
    """Encrypts what redaction would recognise, each value by itself, and leaves the rest as it is.

    It is AES-SIV (RFC 5297) under a key that is derived from the secret key, bound to the name of the job. Equal values
    of one job come out alike, so that a request that is repeated is known again. The key is asked for when the first
    secret comes by.

    Args:
        keys: Gives the secret key in force, and then those before it.

    Example:
        >>> cipher = PayloadCipher(lambda: [SecretKey(b"0123456789abcdef0123456789abcdef")])
        >>> kept = cipher.encrypt('{"user":"ada","password":"hunter2"}', "greet")
        >>> kept.partition("v1:")[0]
        '{"user":"ada","password":"encrypted:'
        >>> cipher.decrypt(orjson.loads(kept), "greet").value
        {'user': 'ada', 'password': 'hunter2'}
    """

    def __init__(self, keys: Callable[[], Sequence[SecretKey]]) -> None:
        self._keys = keys
        self._made: Sequence[AESSIV] = ()

    @classmethod
    def of(cls, settings: Settings, world: World) -> PayloadCipher:
        """Return the cipher of a deployment."""
        return cls(lambda: secret_keys_in_force(settings, world))

    def encrypt(self, text: str, job_name: str, *, sensitive: Collection[str] = ()) -> str:
        """Return JSON text whose secrets are in cipher; a text without any comes back as it is.

        Args:
            text: JSON.
            job_name: The job that it is for: no other can read it.
            sensitive: Fields of the outermost object that are secret whatever they hold.

        Raises:
            ConfigurationError: It holds a secret, and there is no secret key.
        """
        if not sensitive and not may_hold_secret(text):
            return text
        return orjson.dumps(self.encrypt_value(orjson.loads(text), job_name, sensitive=sensitive)).decode()

    def encrypt_value(self, value: object, job_name: str, *, sensitive: Collection[str] = ()) -> object:
        """Return the same of JSON that is not text yet."""
        return replace_secrets(value, lambda secret: self._encrypted(secret, job_name), sensitive=sensitive)

    def encrypt_whole(self, value: object, job_name: str) -> object:
        """Return a value in cipher as a whole if it holds any secret, even one that is known only while a job runs."""
        text = verbatim_json(value)
        return value if redact_json(text) == text else self._encrypted(orjson.loads(text), job_name)

    def decrypt(self, value: object, job_name: str) -> Decrypted:
        """Return JSON in clear.

        Raises:
            UnreadableSecretError: A part was encrypted under another key, or for another job.
        """
        decrypted = Decrypted(None)
        decrypted.value = self._in_clear(value, job_name, decrypted.secrets)
        return decrypted

    def encrypt_url(self, url: str) -> str:
        """Return the address of a webhook in cipher: whoever knows it may write there. Equal ones come out alike."""
        return self._encrypted(url, _WEBHOOKS)

    def decrypt_url(self, kept: str) -> str:
        """Return an address that `encrypt_url` has kept; any other comes back as it is.

        Raises:
            UnreadableSecretError: It was encrypted under another key.
        """
        return orjson.loads(self._decrypted(kept, _WEBHOOKS)) if kept.startswith(ENCRYPTED) else kept

    def _in_clear(self, value: object, job_name: str, secrets: list[str]) -> object:
        match value:
            case str() if value.startswith(ENCRYPTED):
                secret = orjson.loads(self._decrypted(value, job_name))
                secrets.extend(texts_in(secret))
                return secret
            case dict():
                pairs = cast("dict[str, object]", value).items()
                return {name: self._in_clear(item, job_name, secrets) for name, item in pairs}
            case list():
                return [self._in_clear(item, job_name, secrets) for item in cast("list[object]", value)]
            case _:
                return value

    def _encrypted(self, secret: object, job_name: str) -> str:
        encrypted = self._ciphers()[0].encrypt(orjson.dumps(secret), [_WHOSE, job_name.encode()])
        return ENCRYPTED + urlsafe_b64encode(encrypted).rstrip(b"=").decode()

    def _decrypted(self, text: str, job_name: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        letters = text.removeprefix(ENCRYPTED)
        with suppress(ValueError):
            encrypted = urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
            for cipher in self._ciphers():
                with suppress(InvalidTag):
                    return cipher.decrypt(encrypted, [_WHOSE, job_name.encode()])
        raise UnreadableSecretError(
            f"a secret that was stored for job {job_name!r} cannot be read: it was encrypted under another "
            "MAINSPRING_SECRET_KEY. Give the key of that time to this node as MAINSPRING_SECRET_KEY_PREVIOUS, and retry"
        )

    def _ciphers(self) -> Sequence[AESSIV]:
        if not self._made:
            # Only those who have secrets pay for loading it.
            from cryptography.hazmat.primitives.ciphers.aead import AESSIV

            self._made = [AESSIV(key.derive(Purpose.PAYLOAD)) for key in self._keys()]
        return self._made


def holds_cipher(text: str | None) -> bool:
    """Whether stored JSON text may hold something in cipher."""
    return text is not None and ENCRYPTED in text
