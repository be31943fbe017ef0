"""What the handler of a job must not call, or not so (MS2xx, the second half)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from mainspring.checking.rule import Rule, Severity, Sighting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.checking.handler_source import HandlerSource
    from mainspring.checking.rule import Subject

_BLOCKING: Final = frozenset(
    {
        "os.popen", "os.system", "psycopg.connect", "psycopg2.connect", "smtplib.SMTP", "smtplib.SMTP_SSL",
        "socket.create_connection", "sqlite3.connect", "subprocess.call", "subprocess.check_call",
        "subprocess.check_output", "subprocess.run", "time.sleep", "urllib.request.urlopen",
    }
)  # fmt: skip
_BLOCKING_CLIENTS: Final = ("boto3.", "httpx.", "httpx2.", "pymysql.", "redis.Redis", "redis.from_url", "requests.")
_NOT_BLOCKING: Final = ("httpx.Async", "httpx2.Async", "httpx.Timeout", "httpx2.Timeout", "httpx.URL", "httpx2.URL")
_RUNS: Final = ("mainspring.Job.run", "mainspring.Job.run_sync")
_LOOKS: Final = ("unwrap", "status", "error", "failure")
_KEYS: Final = frozenset({"idempotency_key", "unique_key", "tx", None})
"""What makes an `enqueue` count once; None: `**options`, which may hold one."""


def _blocks_the_loop(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or not source.is_async:
        return
    for node in source.nodes():
        if isinstance(node, ast.Call) and _is_blocking(name := source.name_of(node.func)):
            yield Sighting(
                f"it is asynchronous and calls `{name}`, which blocks: every job of this node waits for it", node.lineno
            )


def _is_blocking(name: str) -> bool:
    if name in _BLOCKING:
        return True
    # Of a client that was made before, `requests.Session()` is what blocks, and is told once.
    return name.startswith(_BLOCKING_CLIENTS) and not name.startswith(_NOT_BLOCKING) and "()" not in name


def _nested_run(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or _is_runnable(subject):
        return
    for call in _runs(source):
        yield Sighting(
            "it calls `Job.run` inside a handler, which runs in the harness already: there are two start lines, two "
            "spans and two durations of one run",
            call.lineno,
        )


def _unseen_failure(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or source.mentions(*_LOOKS) or _is_runnable(subject) or list(_returned_runs(source)):
        return
    for call in _runs(source):
        yield Sighting(
            "it never looks at what its `Job.run` returns: where that fails, this run is a success", call.lineno
        )


def _returns_a_job(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or _is_runnable(subject):
        return
    returns = source.returns
    annotated = returns.value if isinstance(returns, ast.Subscript) else returns
    if annotated is not None and source.name_of(annotated) == "mainspring.Job":
        yield Sighting("its result is a `Job`, which is a run and no result", source.line)
        return
    for returned in _returned_runs(source):
        yield Sighting("it returns a `Job`, which is a run and no result", returned.lineno)


def _not_in_the_harness(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or not _is_runnable(subject) or list(_runs(source)):
        return
    returns = source.returns
    if returns is None or "Job" not in ast.unparse(returns):
        yield Sighting("its `run` returns no `Job`: called by anybody else, it is neither timed, logged nor traced")


def _prints(subject: Subject) -> Iterator[Sighting]:
    for call in subject.source.calls("print") if subject.source is not None else ():
        yield Sighting("it prints: nobody finds the line with the execution that wrote it", call.lineno)


def _asks_again(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None:
        return
    for method in (".enqueue", ".enqueue_many"):
        for call in source.calls(method):
            if not _KEYS & {keyword.arg for keyword in call.keywords}:
                yield Sighting("it asks for another job: a second attempt at it asks again", call.lineno)


def _is_runnable(subject: Subject) -> bool:
    """Whether the job is a `JobRunnable`, whose `run` goes through the harness by itself."""
    return getattr(subject.job.written, "__name__", "") == "run" and hasattr(subject.job.written, "__self__")


def _runs(source: HandlerSource) -> Iterator[ast.Call]:
    for name in _RUNS:
        yield from source.calls(name)


def _returned_runs(source: HandlerSource) -> Iterator[ast.Return]:
    for node in source.nodes():
        if isinstance(node, ast.Return) and node.value is not None:
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(value, ast.Call) and source.name_of(value.func) in _RUNS:
                yield node


CALL_RULES: Final = (
    Rule(
        "MS204",
        "Blocking call on the event loop",
        Severity.ERROR,
        "Use the asynchronous way (`await asyncio.sleep(…)`, an asynchronous client), or declare the handler with "
        "plain `def`: it then runs on a thread.",
        _blocks_the_loop,
    ),
    Rule(
        "MS205",
        "`Job.run` inside a handler",
        Severity.WARNING,
        "Call the function itself, or ask for another job with `enqueue` where a run of its own is meant.",
        _nested_run,
    ),
    Rule(
        "MS206",
        "A failure that nobody sees",
        Severity.ERROR,
        "Call `.unwrap()` on the `Job`: it returns the result, or raises what went wrong.",
        _unseen_failure,
    ),
    Rule(
        "MS207",
        "A handler that returns a `Job`",
        Severity.WARNING,
        "Return the result itself: `return (await Job.run(…)).unwrap()`, or better without `Job.run`.",
        _returns_a_job,
    ),
    Rule(
        "MS208",
        "Printing",
        Severity.WARNING,
        'Write `ctx.log("…", field=value)`, which is kept with the execution.',
        _prints,
    ),
    Rule(
        "MS209",
        "Asking for a job again and again",
        Severity.WARNING,
        'Give `enqueue` an `idempotency_key` that follows from this execution, `f"{ctx.execution_id}:mail"`, or `tx=` '
        "to make it one with what it writes.",
        _asks_again,
    ),
    Rule(
        "MS210",
        "A runnable outside of the harness",
        Severity.ERROR,
        "End `run` with `return await Job.run(name, self._work)`.",
        _not_in_the_harness,
    ),
)
