from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.failure import failure_of
from mainspring.observability.log_format import LogEntry, LogFormat, console_line, instant, json_line
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.logs import LogFormatter, LogWriterHandler, configure_logging, process_log_writer
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.domain.failure import Failure

NOW = datetime(2026, 3, 29, 1, 30, 0, 7_999, tzinfo=UTC)
RUN = RunIdentity("digest", execution="0199-7", attempt=2, trigger="cron", node="a")
HOSTILE = (
    'nul \x00, line\nreturn\r\ttab, "quote\\", \x1b[31mred, next\x85line\u2028para\u2029, lone \ud800, bidi \u202e'
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def __init__(self, trouble: Exception) -> None:
        super().__init__()
        self.trouble: Exception | None = trouble

    def write(self, text: str, /) -> int:
        if self.trouble is not None:
            raise self.trouble
        return super().write(text)


def failure(message: str = "boom") -> Failure:
    try:
        raise ValueError(message)  # noqa: TRY301
    except ValueError as error:
        return failure_of(error)


def json_writer(stream: io.StringIO, max_delay: float = 0.0) -> LogWriter:
    return LogWriter(stream, log_format="json", max_delay=max_delay)


# From many threads -------------------------------------------------------------------------------------------------


def test_no_line_is_lost_or_torn_between_threads() -> None:
    stream = io.StringIO()
    writer = json_writer(stream)
    world = RealWorld()

    def work() -> None:
        for _ in range(500):
            writer.job_started(RUN, NOW)
            writer.job_succeeded(RUN, NOW, 0.1)

    threads = [world.start_thread(work, name=f"writer-{number}") for number in range(4)]
    for thread in threads:
        thread.join()
    writer.flush()

    lines = stream.getvalue().splitlines()
    assert len(lines) == 4 * 500 * 2
    assert {json.loads(line)["job"] for line in lines} == {"digest"}


@pytest.fixture
def _eager_threads() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_threads")
def test_two_threads_never_write_at_once() -> None:
    class Watched(io.StringIO):
        inside = 0
        most = 0

        def write(self, text: str, /) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            for _ in range(200):  # a while, for another thread to come in
                pass
            self.inside -= 1
            return len(text)

    stream = Watched()
    writer = json_writer(stream)

    def work() -> None:
        for _ in range(300):
            writer.job_succeeded(RUN, NOW, 0.1)

    threads = [RealWorld().start_thread(work, name=f"writer-{number}") for number in range(4)]
    for thread in threads:
        thread.join()

    assert stream.most == 1


def test_a_writer_that_is_used_while_it_writes_does_not_block() -> None:
    class Interrupted(io.StringIO):
        def write(self, text: str, /) -> int:
            written = super().write(text)
            if "Job started" in text:  # as when a signal handler logs in the middle of a write
                writer.write(LogEntry(NOW, "info", "Stopping"))
            return written

    stream = Interrupted()
    writer = json_writer(stream)
    writer.job_started(RUN, NOW)
    writer.flush()

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["Job started", "Stopping"]


# A stream that refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("closed")])
def test_a_stream_that_refuses_lines_is_told_once_on_standard_error(
    capsys: pytest.CaptureFixture[str], trouble: Exception
) -> None:
    writer = json_writer(Broken(trouble))
    for _ in range(3):
        writer.job_failed(RUN, NOW, 0.1, failure())

    assert capsys.readouterr().err.count("takes no log lines") == 1


def test_a_stream_that_takes_lines_again_gets_them() -> None:
    stream = Broken(OSError(28, "No space left on device"))
    writer = json_writer(stream)
    writer.job_failed(RUN, NOW, 0.1, failure())
    stream.trouble = None
    writer.job_succeeded(RUN, NOW, 0.1)

    assert "Job succeeded" in stream.getvalue()


def test_a_program_without_standard_output_and_error_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    writer = LogWriter(max_delay=0)

    writer.job_failed(RUN, NOW, 0.1, failure())


def test_a_terminal_that_cannot_show_a_character_shows_its_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    LogWriter(stream, log_format="console", max_delay=0).job_succeeded(RunIdentity("café"), NOW, 0.1)

    assert b"caf\\xe9" in raw.getvalue()


# The shape of a line -------------------------------------------------------------------------------------------------


def test_an_instant_has_milliseconds_and_z() -> None:
    assert instant(NOW) == "2026-03-29T01:30:00.007Z"
    assert instant(NOW.replace(second=59, microsecond=0)) == "2026-03-29T01:30:59.000Z"


def test_json_names_everything_that_is_known_and_nothing_else() -> None:
    entry = LogEntry(NOW, "info", "Job succeeded", RUN, "ab" * 16, 1.5)

    assert json.loads(json_line(entry)) == {
        "timestamp": "2026-03-29T01:30:00.007Z",
        "level": "info",
        "message": "Job succeeded",
        "job": "digest",
        "execution": "0199-7",
        "attempt": 2,
        "node": "a",
        "trigger": "cron",
        "durationMs": 1500.0,
        "traceId": "ab" * 16,
    }
    assert json.loads(json_line(LogEntry(NOW, "info", "x"))).keys() == {"timestamp", "level", "message"}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_batch_begins_with_the_lines_of_its_runs_written_at_once(log_format: LogFormat) -> None:
    runs = [
        RUN,
        replace(RUN, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", attempt=2),
        replace(RUN, service="billing\ud800", attempt=3),
        RunIdentity('"odd"'),
    ]
    writer = LogWriter(one_by_one := io.StringIO(), log_format=log_format, max_delay=60)
    for run in runs:
        writer.job_started(run, NOW)
    writer.flush()
    LogWriter(together := io.StringIO(), log_format=log_format, max_delay=60).jobs_started(runs, NOW)

    assert together.getvalue() == one_by_one.getvalue()
    assert together.getvalue().count("ab" * 16) == 1  # the trace that comes in


HARD_CHARACTERS = st.one_of(st.sampled_from(HOSTILE), st.characters(exclude_categories=()))
HARD_TEXT = st.text(HARD_CHARACTERS, max_size=40)


@given(HARD_TEXT, HARD_TEXT)
def test_whatever_a_text_holds_json_stays_one_line_that_strict_readers_take(name: str, message: str) -> None:
    entry = LogEntry(NOW, "error", message, RunIdentity(name), None, 0.1, failure(message), {name + "!": message})
    line = json_line(entry)

    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    read = json.loads(line)
    assert read.keys() >= {"job", "error"}
    line.encode("ascii")
    assert "\\u0000" not in line  # PostgreSQL's jsonb refuses it
    json.dumps(read, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate


@given(HARD_TEXT)
def test_whatever_a_text_holds_console_lines_stay_one_record_without_control_characters(text: str) -> None:
    run = RunIdentity(text, node=text, trigger=text)
    line = console_line(LogEntry(NOW, "info", text, run, None, 0.1, fields={"key": text}), colour=False)

    assert len(line.splitlines()) == 1
    assert line[:-1].isprintable()


def test_hostile_text_is_shown_as_escapes_on_a_console() -> None:
    line = console_line(LogEntry(NOW, "error", HOSTILE, RunIdentity(HOSTILE), failure=failure(HOSTILE)), colour=False)

    first, *trace = line.splitlines()
    assert "\x1b" not in line
    assert first.startswith("2026-03-29T01:30:00.007Z")
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(row.startswith("    ") for row in trace)  # nothing that a job says can look like a line of its own


def test_a_huge_error_is_cut_in_the_log() -> None:
    error = failure("x" * 100_000)

    assert len(json_line(LogEntry(NOW, "error", "Job failed", RUN, failure=error))) < 12_000


def test_a_terminal_gets_colour_and_a_pipe_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        LogWriter(stream, max_delay=0).job_succeeded(RUN, NOW, 0.0125)

    assert "\x1b[32m" in terminal.getvalue()
    assert "Job succeeded" in terminal.getvalue()
    assert "12.5 ms" in terminal.getvalue()
    assert json.loads(pipe.getvalue())["durationMs"] == 12.5


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    LogWriter(terminal, max_delay=0).job_succeeded(RUN, NOW, 61.0)

    assert terminal.getvalue() == (
        "2026-03-29T01:30:00.007Z  INFO     Job succeeded  digest  61.00 s  "
        "execution=0199-7 attempt=2 node=a trigger=cron\n"
    )


# The product's own loggers -------------------------------------------------------------------------------------------


def record(message: str = "lease renewed", **extra: object) -> logging.LogRecord:
    made = logging.getLogger("mainspring.test").makeRecord(
        "mainspring.test", logging.WARNING, "x.py", 1, message, (), None, extra=extra
    )
    made.created = NOW.timestamp()
    return made


def test_a_record_becomes_a_line_with_the_run_that_logged_it() -> None:
    token = current_run.set(RUN)
    try:
        line = json.loads(LogFormatter("json").format(record(leases=3)))
    finally:
        current_run.reset(token)

    assert line["timestamp"][:20] == "2026-03-29T01:30:00."
    assert (line["level"], line["logger"], line["message"]) == ("warning", "mainspring.test", "lease renewed")
    assert (line["job"], line["execution"], line["attempt"], line["node"]) == ("digest", "0199-7", 2, "a")
    assert line["leases"] == 3


def test_extra_fields_cannot_double_the_names_that_a_line_already_has() -> None:
    token = current_run.set(RUN)
    try:
        text = LogFormatter("json").format(record(job="another", level="none"))
    finally:
        current_run.reset(token)

    assert text.count('"job":') == 1
    assert text.count('"level":') == 1
    assert json.loads(LogFormatter("json").format(record(job="another")))["job"] == "another"


def test_a_logged_exception_is_part_of_its_record() -> None:
    made = record()
    try:
        raise ValueError("boom")  # noqa: TRY301
    except ValueError:
        made.exc_info = sys.exc_info()

    assert json.loads(LogFormatter("json").format(made))["error"]["message"] == "boom"
    assert "ValueError: boom" in LogFormatter("console").format(made)


@pytest.fixture
def _mainspring_logger() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    logger = logging.getLogger("mainspring")
    before = (list(logger.handlers), logger.level, logger.propagate)
    process_log_writer.cache_clear()
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
    process_log_writer.cache_clear()


class _Kept(logging.Handler):
    """What a host's handler has got; `caplog` would also listen at a logger that an earlier test had configured."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def of_the_host() -> Generator[_Kept]:
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    yield kept
    logging.getLogger().removeHandler(kept)


@pytest.mark.usefixtures("_mainspring_logger")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_configured_logging_writes_the_product_s_records_once(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    for _ in range(2):
        configure_logging(log_format, "warning")
    logging.getLogger("mainspring.runtime").info("too quiet")
    logging.getLogger("mainspring.runtime").warning("lease %s", "lost")

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "lease lost" in lines[0]
    assert lines[0].startswith("{") == (log_format == "json")


@pytest.mark.usefixtures("_mainspring_logger")
def test_the_level_of_the_product_s_records_can_be_lowered(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", logging.DEBUG)
    logging.getLogger("mainspring.runtime").debug("turn of the loop")

    assert "turn of the loop" in capsys.readouterr().out


@pytest.mark.usefixtures("_mainspring_logger")
def test_configured_logging_leaves_handlers_of_others_alone(of_the_host: _Kept) -> None:
    root, theirs = logging.getLogger(), logging.NullHandler()
    logging.getLogger("mainspring").addHandler(theirs)
    before = list(root.handlers), root.level

    configure_logging("json", "warning")
    configure_logging("json", "warning")
    logging.getLogger("mainspring.runtime").warning("written once")

    assert (list(root.handlers), root.level) == before
    assert theirs in logging.getLogger("mainspring").handlers
    assert of_the_host.records == []  # else a host with a handler at its root would see every line twice


def test_a_record_that_cannot_be_formatted_is_reported_and_not_raised(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = record("two %s %s")
    broken.args = ("one",)
    LogWriterHandler(json_writer(io.StringIO())).handle(broken)

    assert "--- Logging error ---" in capsys.readouterr().err
