"""A Python module of command jobs, written from what was read of crontabs, as a formatter would leave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mainspring.cli.crontab_files import Crontabs
from mainspring.domain.crontab import (
    CrontabAssignment,
    CrontabComment,
    CrontabItem,
    CrontabJob,
    UnreadableLine,
)
from mainspring.domain.schedule import Cron

_WIDTH: Final = 88
_INDENT: Final = "    "
_DEFAULT_PATH: Final = "/usr/bin:/bin"
_DOCSTRING: Final = '''"""Jobs of {origin}, written by `mainspring import-crontab`.

This is the place to change them from now on. As under cron, runs may overlap, and what
was missed is not made up for: `as_cron_does` says so, and each job may say otherwise.
"""
'''
_AS_CRON_DOES: Final = """\
as_cron_does = partial(
    app.command,
    timeout=timedelta(days=1),  # cron has none: what hangs there, hangs for ever
    misfire="skip",
    overlap="allow",
)
"""
_MAILTO: Final = "MAILTO reaches the programs, and nothing is mailed: what they write is kept with each run."


def write_module(crontabs: Crontabs) -> str:
    """Return the text of a module with a job for each entry; comments and lines that nobody can read are comments.

    Args:
        crontabs: What was read.
    """
    writer = _Writer(crontabs)
    jobs = crontabs.jobs
    origin = ", ".join(_printable(crontab.origin) for crontab in crontabs.files) or "no crontab"
    kinds = sorted({type(job.schedule).__name__ for job in jobs})
    names = ", ".join(sorted(["Mainspring", *(["Command", *kinds] if jobs else [])]))
    parts = [
        _DOCSTRING.format(origin=origin.replace("\\", "/").replace('"', "'")),
        "from datetime import timedelta\nfrom functools import partial\n" if jobs else "",
        f"from mainspring import {names}\n",
        f"app = Mainspring()\n{_AS_CRON_DOES if jobs else ''}",
        _comment([_MAILTO]) if any(job.environment.get("MAILTO") for job in jobs) else "",
        *writer.parts(),
    ]
    return "\n".join(part for part in parts if part)


class _Writer:
    """Writes the items of crontabs in their order."""

    def __init__(self, crontabs: Crontabs) -> None:
        self._crontabs = crontabs
        self._names = iter(crontabs.names)
        self._environments: dict[tuple[tuple[str, str], ...], str] = {}

    def parts(self) -> Iterator[str]:
        """Yield the text of each item."""
        for crontab in self._crontabs.files:
            if len(self._crontabs.files) > 1:
                yield _comment([f"---- {crontab.origin} ----"])
            last_job = max((job.line for job in crontab.jobs), default=0)
            for item in crontab.items:
                yield from self._parts_of(item, last_job)

    def _parts_of(self, item: CrontabItem, last_job: int) -> Iterator[str]:
        match item:
            case CrontabComment(lines=lines):
                yield _comment(lines)
            case UnreadableLine(line=line, text=text, reason=reason):
                yield _comment([f"Line {line} could not be read, and does not run: {reason}", text])
            case CrontabAssignment(line=line, name=name, value=value):
                if line > last_job:
                    yield _comment([f"Line {line} sets a variable for no entry: {name}={value}"])
            case CrontabJob():
                environment = {"PATH": _DEFAULT_PATH, **item.environment}
                known = tuple(sorted(environment.items()))
                if known not in self._environments:
                    number = len(self._environments) + 1
                    self._environments[known] = f"ENVIRONMENT_{number}" if number > 1 else "ENVIRONMENT"
                    yield _dict(self._environments[known], environment)
                yield _job(item, next(self._names), self._environments[known])


def _job(job: CrontabJob, name: str, environment: str) -> str:
    command = [_literal(job.command), f"env={environment}", 'cwd="~"']
    if job.stdin is not None:
        command.append(f"stdin={_literal(job.stdin)}")
    if job.user is not None:
        command.append(f"user={_literal(job.user)}")
    arguments = [_literal(name), _call("Command", command, _INDENT), f"schedule={_schedule(job)}"]
    if job.description:
        arguments.append(f"description={_literal(job.description)}")
    return "as_cron_does(\n" + "".join(f"{_INDENT}{argument},\n" for argument in arguments) + ")\n"


def _schedule(job: CrontabJob) -> str:
    if not isinstance(job.schedule, Cron):
        return "OnStartup()"
    arguments = [_literal(job.schedule.expression), f"tz={_literal(job.schedule.tz)}"]
    return _call("Cron", arguments, f"{_INDENT}schedule=")


def _call(function: str, arguments: Sequence[str], before: str) -> str:
    """Return a call: on one line where that fits after what stands before it, else with a line for each argument."""
    on_one_line = f"{function}({', '.join(arguments)})"
    if len(before) + len(on_one_line) < _WIDTH:
        return on_one_line
    return f"{function}(\n" + "".join(f"{_INDENT * 2}{argument},\n" for argument in arguments) + f"{_INDENT})"


def _dict(name: str, values: Mapping[str, str]) -> str:
    lines = (f"{_INDENT}{_literal(key)}: {_literal(value)},\n" for key, value in values.items())
    return f"{name} = {{\n{''.join(lines)}}}\n"


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {_printable(line)}".rstrip() + "\n" for line in lines)


def _literal(text: str) -> str:
    """Return a literal in the quotes that need fewer backslashes, in double ones where both need as many."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    written = "".join(letter if letter in "'\"" else repr(letter)[1:-1] for letter in text)
    return f"{quote}{written.replace(quote, chr(92) + quote)}{quote}"


def _printable(text: str) -> str:
    """Return text that a comment can hold."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(letter if letter.isprintable() or letter == "\t" else repr(letter)[1:-1] for letter in plain)
