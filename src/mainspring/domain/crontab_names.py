"""Names for the entries of crontabs: made of their commands, so that they stay when other entries come and go."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Final

from mainspring.domain.job import RESERVED_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mainspring.domain.crontab import CrontabJob

_MOST_WORDS: Final = 4
_LONGEST: Final = 60
_DIGEST_LENGTH: Final = 6
_SEPARATORS: Final = re.compile(r"&&|\|\||[;|&{}()]")
_REDIRECTION: Final = re.compile(r"\d*[<>]+&?\s*\S*")
_QUOTES: Final = re.compile(r"[\"'`\\]")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*")
_NUMBER: Final = re.compile(r"[\d.:/smhd+-]+")
_OF_NO_FILE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIXES: Final = re.compile(r"\.(sh|bash|py|pl|rb|php|js|jar)$")
_ONLY_PREPARING: Final = frozenset({"cd", "test", "[", "[[", "sleep", "export", "source", ".", "umask", "set", "true"})
_RUN_OTHERS: Final = frozenset(
    {
        *("env", "nice", "ionice", "chronic", "timeout", "flock", "setsid", "nohup", "sudo", "su", "exec", "time"),
        *(
            "sh",
            "bash",
            "dash",
            "zsh",
            "python",
            "python3",
            "perl",
            "ruby",
            "php",
            "node",
            "java",
            "run-one",
            "if",
            "then",
        ),
    }
)
_OPERANDS: Final = {"flock": 1, "su": 1}
_DOES_MANY_THINGS: Final = frozenset(
    {
        *("manage", "artisan", "console", "rake", "flask", "wp", "drush", "occ", "main", "run", "run-parts"),
        *("make", "npm", "docker", "kubectl", "git", "systemctl", "service", "apt-get", "mainspring"),
    }
)
"""What it does is told by the word after it."""
_WITH_A_NAME: Final = frozenset({"-u", "-g", "--user"})


def names_of(jobs: Sequence[CrontabJob]) -> list[str]:
    """Return a name for each entry: different from each other, and such as jobs may have.

    A name is the first word of the command that tells something, and the second after one like `manage.py`. Entries
    that would share it take in further words; those whose commands are alike to the end get a part of a digest of
    command, user and schedule.

    Example:
        >>> from mainspring.domain.crontab import read_crontab
        >>> names_of(
        ...     read_crontab('''
        ... 17 * * * * cd / && run-parts --report /etc/cron.hourly
        ... 25 6 * * * cd / && run-parts --report /etc/cron.daily
        ... 5 4 * * * nice -n 19 /usr/local/bin/backup.sh --full >/dev/null 2>&1
        ... ''')
        ... )
        ['run-parts-cron.hourly', 'run-parts-cron.daily', 'backup']
    """
    words = [list(islice(_telling_words(job.command), _MOST_WORDS)) or ["command"] for job in jobs]
    names = [_joined(own[: 2 if own[0] in _DOES_MANY_THINGS else 1]) for own in words]
    for length in range(2, _MOST_WORDS + 1):
        shared = _shared(names)
        names = [_joined(own[:length]) if name in shared else name for name, own in zip(names, words, strict=True)]
    shared = _shared(names)
    return _numbered(
        [f"{name}-{_digest(job)}" if name in shared else name for name, job in zip(names, jobs, strict=True)]
    )


def _telling_words(command: str) -> Iterator[str]:
    """Yield the words of a command that say what it does: no shell, no wrapper, no option, no place for output."""
    for part in _SEPARATORS.split(_QUOTES.sub(" ", _REDIRECTION.sub(" ", command))):
        words = part.split()
        if words and words[0] in _ONLY_PREPARING:
            continue
        for word in _after_wrappers(words):
            name = _file_name(word)
            if name and not word.startswith("-") and not _ASSIGNMENT.fullmatch(word):
                yield name


def _after_wrappers(words: Sequence[str]) -> Sequence[str]:
    """Leave out what only runs the rest: `sudo -u www-data nice -n 19 python3`."""
    operands = 0
    for place, word in enumerate(words):
        name = _file_name(word)
        if name in _RUN_OTHERS:
            operands = _OPERANDS.get(name, 0)
        elif word in _WITH_A_NAME:
            operands += 1
        elif not (word.startswith("-") or _ASSIGNMENT.fullmatch(word) or _NUMBER.fullmatch(word)):
            if operands == 0:
                return words[place:]
            operands -= 1
    return ()


def _file_name(word: str) -> str:
    last = _SUFFIXES.sub("", word.rstrip("/").rpartition("/")[2])
    return _OF_NO_FILE.sub("-", last).strip("-._")


def _joined(words: Sequence[str]) -> str:
    name = "-".join(words)[:_LONGEST].rstrip("-._")
    return f"{name}-job" if name in RESERVED_NAMES else name


def _shared(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _digest(job: CrontabJob) -> str:
    text = "\0".join((job.command, job.stdin or "", job.user or "", job.expression))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_LENGTH]


def _numbered(names: Sequence[str]) -> list[str]:
    """Tell entries apart that are alike in everything, by their order."""
    numbered: list[str] = []
    for name in names:
        candidates = chain([name], (f"{name}-{number}" for number in count(2)))
        numbered.append(next(candidate for candidate in candidates if candidate not in numbered))
    return numbered
