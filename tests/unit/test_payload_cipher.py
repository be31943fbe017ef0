"""What is encrypted of a payload, what is not, and who can read it again (ADR 17)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mainspring.domain.redaction import ENCRYPTED, REDACTED, redact, withheld
from mainspring.security.payload_cipher import PayloadCipher, UnreadableSecretError
from mainspring.security.secret_key import SecretKey

KEY = SecretKey(b"0123456789abcdef0123456789abcdef")
OTHER = SecretKey(b"fedcba9876543210fedcba9876543210")
SECRETS: dict[str, Any] = {
    "under a secret key": {"password": "hunter2", "user": "ada"},
    "a list under a secret key": {"api_keys": ["one", "two"]},
    "an object under a secret key": {"credentials": {"user": "ada", "pin": 1234}},
    "deep inside": {"steps": [{"auth": {"token": "hunter2"}}]},
    "in an address": {"database": "postgresql://app:hunter2@db/jobs"},
    "in a header": [{"header": "Authorization: Bearer hunter2hunter2"}],
    "as a key": {"postgresql://app:hunter2@db/jobs": 1, "harmless": "hunter2"},
    "with text of all kinds": {"secret": 'ü ☂ " \\ \u0007 hunter2'},
}
HARMLESS: dict[str, Any] = {
    "nothing at all": {},
    "words and numbers": {"report": "quotes", "days": 3, "share": 0.5, "all": True, "none": None},
    "a count under a secret key": {"max_tokens": 12, "nextPageToken": "page-2"},
    "an empty secret": {"password": "", "tokens": []},
    "words that hold a mark": {"title": "The secret passage", "author": "Keyes"},
}


@pytest.fixture
def cipher() -> PayloadCipher:
    return PayloadCipher(lambda: [KEY])


@pytest.mark.parametrize("payload", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_encrypted_shown_to_nobody_and_read_again(cipher: PayloadCipher, payload: Any) -> None:
    text = orjson.dumps(payload).decode()
    kept = cipher.encrypt(text, "greet")
    assert ENCRYPTED in kept
    assert "hunter2" not in kept
    assert redact(orjson.loads(kept)) != orjson.loads(kept)
    assert ENCRYPTED not in str(redact(orjson.loads(kept)))
    assert cipher.decrypt(orjson.loads(kept), "greet").value == payload


@pytest.mark.parametrize("payload", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_secret_stays_as_it_is(cipher: PayloadCipher, payload: Any) -> None:
    text = orjson.dumps(payload).decode()
    assert cipher.encrypt(text, "greet") == text
    assert cipher.decrypt(payload, "greet").value == payload


def test_without_a_secret_nobody_asks_for_the_key() -> None:
    def keys() -> list[SecretKey]:
        raise AssertionError

    cipher = PayloadCipher(keys)
    assert cipher.encrypt('{"days":3}', "greet") == '{"days":3}'


def test_sensitive_fields_are_encrypted_whatever_they_hold(cipher: PayloadCipher) -> None:
    payload = {"iban": None, "account": 12345678, "person": {"name": "Ada"}, "size": 3}
    kept = orjson.loads(cipher.encrypt(orjson.dumps(payload).decode(), "pay", sensitive=["iban", "account", "person"]))
    assert {name for name, value in kept.items() if str(value).startswith(ENCRYPTED)} == {"iban", "account", "person"}
    assert list(kept) == list(payload)
    decrypted = cipher.decrypt(kept, "pay")
    assert (decrypted.value, decrypted.secrets) == (payload, ["12345678", "Ada"])


def test_equal_payloads_of_one_job_are_kept_alike_whatever_runs_at_the_moment(cipher: PayloadCipher) -> None:
    text = '{"name":"canary-1f4c","token":"hunter2"}'
    kept = cipher.encrypt(text, "greet")
    with withheld(["canary-1f4c"]):
        assert cipher.encrypt(text, "greet") == kept
    assert cipher.encrypt(text, "other") != kept


def test_a_checkpoint_is_encrypted_as_a_whole_even_for_what_is_secret_only_now(cipher: PayloadCipher) -> None:
    checkpoint = {"reached": "canary-1f4c", "page": 7}
    assert cipher.encrypt_whole(checkpoint, "greet") is checkpoint
    with withheld(["canary-1f4c"]):
        kept = cipher.encrypt_whole(checkpoint, "greet")
    assert str(kept).startswith(ENCRYPTED)
    assert cipher.decrypt(kept, "greet").value == checkpoint


def test_what_looks_encrypted_and_comes_from_outside_is_not_decrypted(cipher: PayloadCipher) -> None:
    """Whoever has seen a secret in cipher cannot have it read by a job of their own."""
    stolen = orjson.loads(cipher.encrypt('{"password":"hunter2"}', "greet"))["password"]
    kept = orjson.loads(cipher.encrypt(orjson.dumps({"text": stolen}).decode(), "greet"))
    assert kept["text"] != stolen
    assert cipher.decrypt(kept, "greet").value == {"text": stolen}


def test_after_a_new_key_the_one_before_still_reads(cipher: PayloadCipher) -> None:
    kept = orjson.loads(cipher.encrypt('{"password":"hunter2"}', "greet"))
    rotated = PayloadCipher(lambda: [OTHER, KEY])
    assert rotated.decrypt(kept, "greet").value == {"password": "hunter2"}
    assert orjson.loads(rotated.encrypt('{"password":"hunter2"}', "greet")) != kept


@pytest.mark.parametrize("change", ["key", "job", "text", "letters"])
def test_what_cannot_be_read_is_told_with_the_way_out(cipher: PayloadCipher, change: str) -> None:
    secret = orjson.loads(cipher.encrypt('{"password":"hunter2"}', "greet"))["password"]
    other = "A" if secret[-9] != "A" else "B"
    reader = PayloadCipher(lambda: [OTHER]) if change == "key" else cipher
    altered = {"text": f"{secret[:-9]}{other}{secret[-8:]}", "letters": f"{ENCRYPTED}!"}.get(change, secret)
    with pytest.raises(UnreadableSecretError, match="MAINSPRING_SECRET_KEY_PREVIOUS") as refused:
        reader.decrypt({"password": altered}, "other" if change == "job" else "greet")
    assert "hunter2" not in str(refused.value)


def test_the_marked_text_is_shown_as_redacted(cipher: PayloadCipher) -> None:
    kept = orjson.loads(cipher.encrypt('{"note":"password=hunter2"}', "greet"))
    assert redact(kept) == {"note": REDACTED}
