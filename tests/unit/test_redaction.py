"""Secrets are known by their key, by their shape, or by their value; what is none stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.redaction import (
    REDACTED,
    is_secret_key,
    redact,
    redact_json,
    redact_text,
    register_secret,
    texts_under,
    withheld,
)
from mainspring.domain.write_door import clean_text, json_text, payload_text, result_text, verbatim_json, verbatim_text
from mainspring.runtime.child_protocol import read_log, read_progress
from mainspring.settings import load_settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9mLWFkYQ"
SHAPES = [
    ("Authorization: Bearer abc.def-123", "Authorization: [redacted]"),
    ("authorization=Basic dXNlcjpwYXNzd29yZA==", "authorization=[redacted]"),
    ("sent with Bearer abcdefgh12345678, twice", "sent with Bearer [redacted], twice"),
    (f"the token {JWT} is old", "the token [redacted] is old"),
    ("whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u", "[redacted]"),
    ("key msk_0123456789abcdefghijklmnopqrstuvwxyzABCD", "key [redacted]"),
    ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
    ("xoxb-123456789012-abcdefghij", "[redacted]"),
    ("ghp_0123456789abcdefghij0123456789abcdef", "[redacted]"),
    ("github_pat_0123456789abcdefghij", "[redacted]"),
    ("sk_live_0123456789abcdefghij", "[redacted]"),
    ("sk-ant-api03-0123456789", "[redacted]"),
    ("AIza0123456789abcdefghij0123456789abcde", "[redacted]"),
    ("https://hooks.slack.com/services/T0/B0/XXXX failed", "https://hooks.slack.com/[redacted] failed"),
    ("postgresql://app:p%40ss@db:5432/jobs", "postgresql://app:[redacted]@db:5432/jobs"),
    ("redis://:hunter2@cache/0", "redis://:[redacted]@cache/0"),
    ("GET /?access_token=abc&page=2", "GET /?access_token=[redacted]&page=2"),
    ("password=hunter2; user=ada", "password=[redacted]; user=ada"),
    ("DB_PASSWORD='two words' HOST=db", "DB_PASSWORD='[redacted]' HOST=db"),
    ('{"api_key": "k-1", "user": "ada"}', '{"api_key": "[redacted]", "user": "ada"}'),
    ("Set-Cookie: session=abc; Path=/\nnext", "Set-Cookie: [redacted]\nnext"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nnext", "[redacted]\nnext"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE, cut off", "[redacted]"),
]
HARMLESS = [
    "imported 1,200 rows of flights, 3 skipped",
    "max_tokens: 5, token_count=7",
    "token: expired",
    "the password was wrong",
    "Bearer of bad news",
    "basic auth is off",
    "https://jobs.example:8080/users/ada@example.com",
    "mail to ada@example.com",
    "items_processed 12, params_a_b",
    "01a201ed-4cfe-7a4c-950b-389f5b3f087b",
    "-----BEGIN CERTIFICATE-----",
    "the secret of success",
    "risk-and-task_id",
]


@pytest.mark.parametrize(("text", "shown"), SHAPES)
def test_a_secret_is_known_by_its_shape(text: str, shown: str) -> None:
    assert redact_text(text) == shown
    assert clean_text(text, 1_000) == shown
    assert redact_text(shown) == shown, "twice is as good as once: texts pass the door more than once"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("key", "is_secret"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("x-api-key", True),
        ("accessToken", True),
        ("refresh_tokens", True),
        ("Authorization", True),
        ("client-secret", True),
        ("SENTRY_DSN", True),
        ("Set-Cookie", True),
        ("awsCredentials", True),
        ("privateKey", True),
        ("encryption_key", True),
        ("nextPageToken", False),
        ("token_count", False),
        ("max_tokens_used", False),
        ("key", False),
        ("deduplicationKey", False),
        ("passenger", False),
        ("author", False),
        ("secretary", False),
    ],
)
def test_a_secret_is_known_by_its_key_however_it_is_written(key: str, is_secret: bool) -> None:  # noqa: FBT001
    assert is_secret_key(key) is is_secret
    shown = json.loads(redact_json(json.dumps({key: "hunter2-value"})))
    assert (shown[key] == REDACTED) is is_secret


def test_under_a_secret_key_every_text_goes_and_counts_stay() -> None:
    value = {"secrets": {"a": ["x", {"b": "y"}], "count": 3, "on": True, "none": None}, "tokens": 512, "password": ""}
    assert redact(value) == {
        "secrets": {"a": [REDACTED, {"b": REDACTED}], "count": 3, "on": True, "none": None},
        "tokens": 512,
        "password": "",
    }


@pytest.mark.parametrize("secret", ["canary-value-1", 'with "quotes" and \\', "with / and ?&", "with ünïcode"])
def test_a_registered_value_is_found_in_every_form(secret: str) -> None:
    with withheld([secret]):
        assert secret not in redact_text(f"before {secret} after")
        for text in (json_text({"a": [secret]}), json_text({secret: 1}), result_text(f"x{secret}x") or ""):
            assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text
            assert json.dumps(secret)[1:-1] not in text
    assert redact_text(secret) == secret


def test_values_that_two_jobs_withhold_stay_hidden_until_both_have_ended() -> None:
    with withheld(["canary-of-both"]):
        with withheld(["canary-of-both"]):
            pass
        assert redact_text("a canary-of-both") == "a [redacted]"
    assert redact_text("a canary-of-both") == "a canary-of-both"


def test_short_values_are_not_looked_for() -> None:
    register_secret("")
    register_secret("12345")
    assert redact_text("123456") == "123456"


def test_the_texts_under_sensitive_fields_are_those_of_any_depth() -> None:
    payload = {"person": {"name": "Ada", "phones": ["+44 1", 7]}, "city": "London"}
    assert list(texts_under(["person"], payload)) == ["Ada", "+44 1", "7"]
    assert list(texts_under(["person"], ["no", "fields"])) == []


def test_a_password_that_is_a_common_word_is_known_by_its_place_alone() -> None:
    load_settings(database_url="postgresql://app:postgres@db/jobs")
    assert redact_text("postgres took it") == "postgres took it"
    assert redact_text("postgresql://app:postgres@db/jobs") == "postgresql://app:[redacted]@db/jobs"


def test_what_a_child_process_says_is_cleaned_as_it_arrives() -> None:
    # The child does not know what its parent withholds, and the parent may write it down after the attempt has ended.
    with withheld(["canary of the payload"]):
        line = read_log({"level": "info", "message": "for canary of the payload", "fields": {}})
        progress = read_progress({"percent": 5, "message": "at canary of the payload"})
    assert line.message == "for [redacted]"
    assert progress.message == "at [redacted]"


def test_every_secret_of_the_settings_is_registered_when_they_are_read() -> None:
    load_settings(
        database_url="postgresql://app:canary%40database@db/jobs",
        slack_webhook_url="https://hooks.example/canary-slack",
        webhook_secret="whsec-canary-new,whsec-canary-old",
        channels={"pager": {"key": "canary-pager"}},
    )
    for canary in ("canary%40database", "canary@database", "canary-slack", "whsec-canary-old", "canary-pager"):
        text = f"https://hooks.example/{canary}" if canary == "canary-slack" else canary
        assert canary not in redact_text(f"about {text}.")


def test_what_comes_back_to_its_owner_is_kept_as_it_was_given() -> None:
    value = {"password": "hunter2", "url": "postgresql://a:b@c/d"}
    assert json.loads(payload_text(value, "digest")) == value
    assert json.loads(verbatim_json(value)) == value
    assert verbatim_text("password=hunter2", 100) == "password=hunter2"


@given(st.recursive(st.none() | st.integers() | st.text() | st.sampled_from([text for text, _ in SHAPES]), lambda leaf: st.lists(leaf) | st.dictionaries(st.text() | st.sampled_from(["password", "n"]), leaf)))  # fmt: skip  # noqa: E501
def test_redacted_json_is_json_and_stays_as_it_is_the_second_time(value: Any) -> None:
    once = json_text(value)
    assert json.loads(redact_json(once)) == json.loads(once)
    json.loads(redact_text(once))


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "://",
        "://a:",
        "password",
        "password=",
        "token ' ",
        "bearer ",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "cookie: ",
    ],
)
def test_no_text_takes_long(part: str) -> None:
    # A pattern that looks back and forth would take minutes for this, and the test end by its time-out.
    redact_text(part * (256_000 // len(part)))
