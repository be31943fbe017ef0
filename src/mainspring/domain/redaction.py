"""What must not be shown: recognised by its key, by its shape, or because its value was registered (S37).

Everything that is written passes here, so a plain text must cost next to nothing: it is searched for a few short marks
first, and only a text that has one is looked at closely, for what the mark stands for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator

REDACTED: Final = "[redacted]"
_KEPT: Final = rf"\g<kept>{REDACTED}"
ENCRYPTED: Final = "encrypted:v1:"
"""How a secret begins that lies in the store in cipher; what follows is in the letters of a URL."""
LEAST_CHARACTERS: Final = 6
"""A shorter value is not looked for: it would be found everywhere."""

# By key --------------------------------------------------------------------------------------------------------------

_SECRET_KEYS: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "passwordhash", "secret", "token", "apikey", "accesskey",
    "privatekey", "secretkey", "signingkey", "encryptionkey", "authorization", "credential", "dsn", "cookie",
)  # fmt: skip
_HARMLESS_KEYS: Final = ("pagetoken", "nexttoken", "continuationtoken", "synctoken", "resumetoken")
_KEY_MARKS: Final = (
    "pass", "pwd", "secret", "token", "auth", "_key", "-key", "apikey", "ingkey", "ionkey", "cesskey", "private",
    "cred", "dsn", "cookie",
)  # fmt: skip
"""Every secret key, in lower case, holds one of these."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=4_096)
def is_secret_key(key: str) -> bool:
    """Whether what stands under a key is a secret, however the key is written.

    Example:
        >>> is_secret_key("DB_PASSWORD"), is_secret_key("xApiKey"), is_secret_key("nextPageToken")
        (True, True, False)
    """
    name = _NOT_IN_NAMES.sub("", key.lower()).removesuffix("s")
    return name.endswith(_SECRET_KEYS) and not name.endswith(_HARMLESS_KEYS)


# By shape ------------------------------------------------------------------------------------------------------------

_NAMES: Final = (
    r"(?i:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|dsn|authorization"
)


def _shape(kept: str, secret: str) -> re.Pattern[str]:
    return re.compile(f"(?P<kept>{kept}){secret}", re.DOTALL)


_AFTER_A_NAME: Final = (
    # password=…, Authorization: Bearer …
    _shape(
        rf"{_NAMES})[ ]?[=:][ ]?|(?i:token)[ ]?=[ ]?",
        r"""(?!\[redacted)(?i:(?:bearer|basic|digest|token)[ ]+)?[^\s"'&;,<>\\)\]}]+""",
    ),
    # "api_key": "…"
    _shape(rf"""{_NAMES}|token)["']?[ ]?[=:][ ]?["']""", r"""(?!\[redacted\]["'])[^"'\\\n]+"""),
)
_AFTER_A_SCHEME: Final = _shape(r"\b(?i:bearer|basic)[ ]{1,3}", r"[A-Za-z0-9._~+/=-]{8,}")
_OF_GITHUB: Final = _shape("", r"\b(?:gh[ops]|github_pat)_[A-Za-z0-9_]{16,}")

_SHAPES: Final[tuple[tuple[str, tuple[re.Pattern[str], ...]], ...]] = (
    *((mark, _AFTER_A_NAME) for mark in ("pass", "pwd", "secret", "_key", "-key", "apikey", "cesskey", "private")),
    *((mark, _AFTER_A_NAME) for mark in ("dsn", "auth", "token")),
    ("@", (_shape(r"""://[^\s/:@"'\\]{0,200}:""", r"""[^\s/@"'\\]+(?=@)"""),)),  # scheme://user:password@host
    ("cookie", (_shape(r"(?i:cookie[ ]?:[ ]?)", r"[^\r\n\"]+"),)),
    ("bearer ", (_AFTER_A_SCHEME,)),
    ("basic ", (_AFTER_A_SCHEME,)),
    (
        "private key",
        (_shape("", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}KEY-----|\Z)"),),
    ),
    ("eyj", (_shape("", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),)),
    ("whsec_", (_shape("", r"whsec_[A-Za-z0-9+/=_-]{16,}"),)),
    ("msk_", (_shape("", r"\bmsk_[A-Za-z0-9._-]{20,}"),)),
    ("akia", (_shape("", r"\bAKIA[A-Z0-9]{16}\b"),)),
    ("xox", (_shape("", r"\bxox[a-z]-[A-Za-z0-9-]{10,}"),)),
    ("slack.com/", (_shape(r"\bhooks\.slack\.com/", r"[A-Za-z0-9/_-]+"),)),
    *((mark, (_OF_GITHUB,)) for mark in ("ghp_", "gho_", "ghs_", "github_pat_")),
    *((mark, (_shape("", r"\bsk[_-](?:live|ant|proj)[_-][A-Za-z0-9_-]{10,}"),)) for mark in ("sk_live_", "sk-ant-")),
    ("aiza", (_shape("", r"\bAIza[A-Za-z0-9_-]{35}"),)),
    (ENCRYPTED, (_shape("", rf"{ENCRYPTED}[A-Za-z0-9_-]+"),)),
)
"""Marks in lower case, and the shapes to look for in a text that holds one."""

_MARKS: Final = tuple(dict.fromkeys(_KEY_MARKS + tuple(mark for mark, _ in _SHAPES)))


# By value ------------------------------------------------------------------------------------------------------------

_counts: Final[Counter[str]] = Counter()
_registered: Final[set[str]] = set()
_needles: tuple[str, ...] = ()
_withheld_here: ContextVar[tuple[str, ...]] = ContextVar("mainspring_withheld_here", default=())


def register_secret(value: str) -> None:
    """Let a value be shown nowhere for as long as this process lives; shorter than six characters, it is ignored."""
    _count([value], 1)
    if len(value) >= LEAST_CHARACTERS:
        _registered.add(value)


@contextmanager
def withheld(values: Iterable[str]) -> Generator[None]:
    """Let values be shown nowhere for as long as the block lasts."""
    values = tuple(values)
    _count(values, 1)
    outer = _withheld_here.get()
    _withheld_here.set(outer + values)
    try:
        yield
    finally:
        _withheld_here.set(outer)
        _count(values, -1)


def withheld_here() -> tuple[str, ...]:
    """Return what is withheld by the blocks that the caller is in, for another process that works for it."""
    return _withheld_here.get()


def texts_under(fields: Collection[str], payload: object) -> Iterator[str]:
    """Yield every text, and every number as text, that a payload holds under some of its fields."""
    if isinstance(payload, dict):
        for name, value in cast("dict[str, object]", payload).items():
            if name in fields:
                yield from texts_in(value)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text of a JSON value, and every number as text."""
    match value:
        case str():
            yield value
        case int() | float():
            yield str(value)
        case dict():
            for item in cast("dict[str, object]", value).values():
                yield from texts_in(item)
        case list():
            for item in cast("list[object]", value):
                yield from texts_in(item)
        case _:
            return


def _count(values: Iterable[str], by: int) -> None:
    global _needles  # noqa: PLW0603 - what this process must not show is known to all of it
    for value in values:
        if len(value) >= LEAST_CHARACTERS:
            _counts[value] += by
            if _counts[value] <= 0:
                del _counts[value]
    # The longest first, for one may be a part of another.
    _needles = tuple(sorted({form for value in _counts for form in _forms(value)}, key=len, reverse=True))


@lru_cache(maxsize=1_024)
def _forms(value: str) -> tuple[str, str, str]:
    """Return a value as it is, within JSON, and within a URL."""
    return value, json.dumps(value)[1:-1], quote(value, safe="")


# All three -----------------------------------------------------------------------------------------------------------


def redact_text(text: str) -> str:
    """Return a text without the secrets that its shape or the register tells.

    Example:
        >>> redact_text("could not reach postgresql://app:hunter2@db/jobs")
        'could not reach postgresql://app:[redacted]@db/jobs'
    """
    if not may_hold_secret(text):
        return text
    for needle in _needles:
        text = text.replace(needle, REDACTED)
    return _without_shapes(text)


def _without_shapes(text: str) -> str:
    lowered = text.lower()
    for mark, shapes in _SHAPES:
        if mark in lowered:
            for shape in shapes:
                text = shape.sub(_KEPT, text)
    return text


def redact_json(text: str) -> str:
    """Return JSON text without the secrets that keys, shapes and the register tell.

    Example:
        >>> redact_json('{"user":"ada","password":"hunter2","tokens":12}')
        '{"user":"ada","password":"[redacted]","tokens":12}'
    """
    return orjson.dumps(redact(orjson.loads(text))).decode() if may_hold_secret(text) else text


def may_hold_secret(text: str) -> bool:
    """Whether a text is worth the closer look: false for nearly every text, and never for one that holds a secret."""
    if len(text) < LEAST_CHARACTERS:
        return False
    for needle in _needles:
        if needle in text:
            return True
    lowered = text.lower()
    for mark in _MARKS:  # noqa: SIM110 - this loop runs for every result, and takes half the time of `any`
        if mark in lowered:
            return True
    return False


def redact(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without the secrets that keys, shapes and the register tell."""
    match value:
        case str():
            return redact_text(value)
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return {redact_text(key): _blank(item) if is_secret_key(key) else redact(item) for key, item in pairs}
        case list():
            return [redact(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _blank(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON of the same form without its texts; numbers under such keys are counts more often than secrets."""
    match value:
        case str():
            return REDACTED if value else value
        case dict():
            return {key: _blank(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_blank(item) for item in cast("list[Any]", value)]
        case _:
            return value


# Replacing instead of taking out --------------------------------------------------------------------------------------


def replace_secrets(value: Any, replace: Callable[[Any], str], *, sensitive: Collection[str] = ()) -> Any:  # noqa: ANN401 - JSON
    """Return JSON in which every value that holds a secret has been replaced as a whole.

    Which these are depends on the value alone, and not on what happens to run in this process: the same payload comes
    out alike each time.

    Args:
        value: JSON.
        replace: Gives the text that stands in the place of a value.
        sensitive: Fields of the outermost object that hold secrets whatever they hold.

    Example:
        >>> replace_secrets({"user": "ada", "password": "hunter2"}, lambda secret: "…")
        {'user': 'ada', 'password': '…'}
    """
    if not isinstance(value, dict) or not sensitive:
        return _replaced(value, replace)
    fields = cast("dict[str, Any]", value)
    rest = _replaced({name: item for name, item in fields.items() if name not in sensitive}, replace)
    if isinstance(rest, str):
        return replace(fields)
    return {name: replace(fields[name]) if name in sensitive else rest[name] for name in fields}


def _replaced(value: Any, replace: Callable[[Any], str]) -> Any:  # noqa: ANN401 - JSON
    match value:
        case str():
            return replace(value) if _is_secret_text(value) else value
        case dict():
            fields = cast("dict[str, Any]", value)
            if any(map(_is_secret_text, fields)):
                return replace(fields)
            return {
                name: replace(item) if is_secret_key(name) and _blank(item) != item else _replaced(item, replace)
                for name, item in fields.items()
            }
        case list():
            return [_replaced(item, replace) for item in cast("list[Any]", value)]
        case _:
            return value


def _is_secret_text(text: str) -> bool:
    if not may_hold_secret(text):
        return False
    return any(form in text for value in _registered for form in _forms(value)) or _without_shapes(text) != text
