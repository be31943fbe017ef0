"""The language in which people say which runs they mean: `status:failed -job:heartbeat started:<2h`.

A term is a key, a colon and values, any of which a run may have: `status:failed,retrying`. All terms hold. A minus
takes a term's runs away. Instants, durations and counts are compared: `duration:>30s`. An age counts back from now, so
that `started:<2h` is within the last two hours and `started:>2h` is before that; a time such as `2026-11-22T09:30` is
read by the visitor's clock. What has spaces or commas stands in quotes. A bare word is a part of a job's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from mainspring.domain.run_filter_keys import JOB_NAME, KEYS, PAYLOAD, Kind, kind_of
from mainspring.domain.run_filter_values import fault_of

MAX_CHARACTERS: Final = 1_000
MAX_TERMS: Final = 30
MAX_VALUES: Final = 30
_KEY: Final = re.compile(r"([A-Za-z][^\s:\",]*):")
_COMPARISON: Final = re.compile(r">=|<=|[<>]")
_QUOTED: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_BARE: Final = re.compile(r"[^\s,\"][^\s,]*")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_SPACE: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that is asked of runs.

    Attributes:
        key: Which of their facts; empty: the name of the job, of which the value is a part.
        values: Any of which it may be, as they were typed.
        comparison: `>`, `<`, `>=` or `<=`; empty: it is one of the values.
        is_excluded: Whether these runs are left out instead.
        position: Where it begins in the text, from 0.
    """

    key: str
    values: tuple[str, ...]
    comparison: str = ""
    is_excluded: bool = False
    position: int = field(default=0, compare=False)

    @property
    def kind(self) -> Kind:
        """What its values are."""
        return kind_of(self.key) or Kind.WORD

    @property
    def text(self) -> str:
        """How it is written.

        Example:
            >>> Term("job", ("nightly export",), is_excluded=True).text
            '-job:"nightly export"'
        """
        key = f"{self.key}:" if self.key else ""
        values = ",".join(_written(value, is_first=not key) for value in self.values)
        return f"{'-' if self.is_excluded else ''}{key}{self.comparison}{values}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read.

    Attributes:
        position: Where, from 0.
        words: What is wrong, and what would be right.
    """

    position: int
    words: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What is asked of runs.

    Attributes:
        terms: All of them hold.
        faults: What could not be read of the text; then the filter means nothing.
    """

    terms: tuple[Term, ...] = ()
    faults: tuple[Fault, ...] = field(default=(), compare=False)

    @property
    def text(self) -> str:
        """How it is written: it reads as the same filter."""
        return " ".join(term.text for term in self.terms)

    def without(self, term: Term) -> RunFilter:
        """Return the filter that does not ask for this."""
        return RunFilter(tuple(kept for kept in self.terms if kept != term))

    def asking(self, key: str, *values: str) -> RunFilter:
        """Return the filter that asks for these values of a key and no others; without values, for any."""
        kept = tuple(term for term in self.terms if term.key != key or term.is_excluded)
        return RunFilter((*kept, Term(key, values)) if values else kept)

    def values(self, key: str) -> frozenset[str]:
        """Return the values that are asked for of a key."""
        return frozenset(value for term in self.terms if term.key == key for value in term.values)


def read_filter(text: str) -> RunFilter:
    """Read a filter; whatever the text is, an answer comes back.

    Args:
        text: What somebody typed; at most 1,000 characters of it count.

    Example:
        >>> read_filter("status:failed duration:>30s").terms[1]
        Term(key='duration', values=('30s',), comparison='>', is_excluded=False, position=14)
        >>> read_filter("statsu:failed").faults
        (Fault(position=0, words="there is no key 'statsu': did you mean status?"),)
    """
    if len(text) > MAX_CHARACTERS:
        return RunFilter((), (Fault(MAX_CHARACTERS, f"a filter has at most {MAX_CHARACTERS:,} characters"),))
    reader = _Reader(text)
    terms = tuple(dict.fromkeys(reader.read()))
    if len(terms) > MAX_TERMS:
        reader.faults.append(Fault(terms[MAX_TERMS].position, f"a filter has at most {MAX_TERMS} terms"))
    return RunFilter(terms, tuple(reader.faults))


class _Reader:
    """Goes through a text once, from left to right."""

    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._text = text.replace("\x00", " ")
        self._at = 0

    def read(self) -> list[Term]:
        """Return the terms that can be read; what cannot is among the faults."""
        terms: list[Term] = []
        while self._take(_SPACE) is not None and self._at < len(self._text):
            term = self._term()
            if term is not None and self._is_right(term):
                terms.append(term)
        return terms

    def _term(self) -> Term | None:
        position = self._at
        is_excluded = self._skip("-")
        key = self._take(_KEY)
        comparison = (self._take(_COMPARISON) or "") if key else ""
        values = self._values()
        if not values:
            self._fault(position, f"a value is missing after {key}" if key else "a word is missing here")
            return None
        name = (key or "").removesuffix(":")
        name = name if name.startswith(PAYLOAD) else name.lower()
        return _identified(Term(name, values, comparison, is_excluded, position))

    def _values(self) -> tuple[str, ...]:
        values: list[str] = []
        while True:
            value = self._value()
            if value is None:
                break
            values.append(value)
            if not self._skip(","):
                break
        if self._at < len(self._text) and not self._text[self._at].isspace():
            self._fault(self._at, "a space or a comma belongs here")
            self._at += 1
        return tuple(dict.fromkeys(values))

    def _value(self) -> str | None:
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            return _ESCAPED.sub(r"\1", quoted[1])
        if self._text.startswith('"', self._at):
            self._fault(self._at, "this quotation mark is not closed")
            self._at = len(self._text)
            return None
        return self._take(_BARE)

    def _is_right(self, term: Term) -> bool:
        kind = kind_of(term.key)
        if kind is None:
            near = get_close_matches(term.key, KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)} and {PAYLOAD}FIELD"
            self._fault(term.position, f"there is no key {term.key!r}: {hint}")
            return False
        if len(term.values) > (1 if term.comparison else MAX_VALUES):
            self._fault(term.position, "one value is compared" if term.comparison else f"at most {MAX_VALUES} values")
            return False
        for value in term.values:
            problem = fault_of(term.key, kind, value, is_compared=bool(term.comparison))
            if problem is not None:
                self._fault(term.position, problem)
                return False
        return True

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skip(self, mark: str) -> bool:
        is_there = self._text.startswith(mark, self._at)
        self._at += len(mark) if is_there else 0
        return is_there

    def _fault(self, position: int, words: str) -> None:
        self.faults.append(Fault(position, words))


def _identified(term: Term) -> Term:
    """A bare word that is the id of a run asks for that run."""
    if term.key != JOB_NAME:
        return term
    try:
        ids = tuple(str(UUID(value)) for value in term.values)
    except ValueError:
        return term
    return replace(term, key="id", values=ids)


def _written(value: str, *, is_first: bool) -> str:
    is_plain = _BARE.fullmatch(value) is not None and '"' not in value and value[0] not in "<>="
    if is_first:
        is_plain = is_plain and not value.startswith("-") and ":" not in value
    if is_plain:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
