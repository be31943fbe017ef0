"""`mainspring import-crontab`: the table, the JSON and the module that it writes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.cli.crontab_files import Crontab, Crontabs
from mainspring.cli.crontab_module import write_module
from mainspring.cli.local_zone import zone_of_this_machine
from mainspring.cli.main import main
from mainspring.domain.crontab import CrontabJob, read_crontab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainspring import Mainspring

    Command = Callable[..., tuple[int, str, str]]

CRONTAB = r"""
MAILTO="ops@example.com"
PATH=/usr/local/bin:/usr/bin:/bin
# Nightly dump of the shop's "database".
30 2 * * * /usr/local/bin/backup.sh --full > /var/log/backup.log 2>&1
@reboot tmux new -d
CRON_TZ=Europe/Rome
0 9 * * MON mail -s hello ada%Dear "Ada",%%it's Monday: 100\%.
61 * * * * nope
LAST=1
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring import-crontab` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crontab").write_text(CRONTAB)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", "import-crontab", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def app_of(module: str) -> Mainspring:
    names: dict[str, Any] = {}
    exec(compile(module, "jobs.py", "exec"), names)  # noqa: S102 - this is how the module is tried
    return names["app"]


def declared(app: Mainspring) -> list[tuple[str, object, str]]:
    return [
        (job.definition.name, job.definition.schedule, job.definition.description)
        for job in app.registry
        if job.definition.job_type == "command"
    ]


def test_the_table_says_when_each_entry_runs_next(command: Command) -> None:
    code, out, err = command("crontab", "--tz", "UTC")
    assert code == 0
    assert "Every day at 2:30 AM (UTC)" in out
    assert "Every Monday at 9:00 AM (Europe/Rome)" in out
    assert "When the application starts" in out
    assert "crontab, line 9: cron '61 * * * *', minute, character 1: 61 is out of range" in err


def test_the_answer_for_programs_has_everything_that_was_read(command: Command) -> None:
    code, out, _ = command("crontab", "--tz", "UTC", "--json")
    answer = json.loads(out)
    assert code == 0
    backup, _, mail = answer["jobs"]
    assert backup["name"] == "backup"
    assert backup["description"] == 'Nightly dump of the shop\'s "database".'
    assert backup["environment"] == {"MAILTO": "ops@example.com", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert (mail["cronExpression"], mail["timezone"], mail["line"]) == ("0 9 * * MON", "Europe/Rome", 8)
    assert mail["stdin"] == 'Dear "Ada",\n\nit\'s Monday: 100%.\n'
    assert [(line["line"], line["text"]) for line in answer["unreadable"]] == [(9, "61 * * * * nope")]


def test_the_module_declares_the_same_jobs(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("crontab", "--tz", "UTC", "--write", "shop/jobs.py")
    module = (tmp_path / "shop" / "jobs.py").read_text()
    assert code == 0
    assert "mainspring serve --app shop.jobs:app" in out
    assert [name for name, _, _ in declared(app_of(module))] == ["backup", "tmux", "mail"]
    assert "# Line 9 could not be read" in module
    assert "# 61 * * * * nope" in module
    assert "# Line 10 sets a variable for no entry: LAST=1" in module
    assert "MAILTO reaches the programs" in module


def test_the_module_is_as_a_linter_and_a_formatter_want_it(command: Command, tmp_path: Path) -> None:
    assert command("crontab", "--write", "jobs.py")[0] == 0
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check", "--isolated", "--select", "E4,E7,E9,F,I,D,Q,W", "--ignore", "D203,D213"],
                  ["format", "--isolated", "--check"]):  # fmt: skip
        done = subprocess.run([*ruff, *check, "jobs.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_module_that_is_there_is_not_written_over(command: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("mine = True\n")
    code, _, err = command("crontab", "--write", "jobs.py")
    assert code == 2
    assert "is there already" in " ".join(err.split())
    assert (tmp_path / "jobs.py").read_text() == "mine = True\n"
    assert command("crontab", "--write", "jobs", "--force")[0] == 0
    assert "as_cron_does(" in (tmp_path / "jobs.py").read_text()


def test_a_module_has_a_name_that_python_can_import(command: Command) -> None:
    assert command("crontab", "--write", "cron-jobs.py")[0] == 2


def test_a_file_that_is_not_there_is_an_error_of_usage(command: Command) -> None:
    code, _, err = command("nothing")
    assert code == 2
    assert "No such file" in err


@pytest.mark.parametrize("place", ["etc/crontab", "etc/cron.d/php"])
def test_crontabs_of_the_system_have_a_column_for_the_user(command: Command, tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text("0 5 * * * www-data sessionclean\n")
    [job] = json.loads(command(place, "--json")[1])["jobs"]
    assert (job["user"], job["command"]) == ("www-data", "sessionclean")


def test_other_files_have_it_where_somebody_says_so(command: Command, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("0 5 * * * root sessionclean\n")
    _, out, err = command("copy", "--json")
    assert json.loads(out)["jobs"][0]["user"] is None
    assert "give --system" in err
    _, out, err = command("copy", "--system", "--json")
    assert json.loads(out)["jobs"][0]["user"] == "root"
    assert not err


def test_of_a_folder_those_files_are_read_that_cron_reads(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "cron.d"
    folder.mkdir()
    for name in ("php", "e2scrub_all", "backup.dpkg-old", ".placeholder", "anacron~"):
        (folder / name).write_text(f"# {name}\n\n@daily root {name}\n")
    _, out, err = command("cron.d", "--json")
    answer = json.loads(out)
    assert [job["command"] for job in answer["jobs"]] == ["e2scrub_all", "php"]
    assert answer["ignoredFiles"] == [".placeholder", "anacron~", "backup.dpkg-old"]
    assert "left out" in err
    assert command("cron.d", "--write", "jobs.py")[0] == 0
    assert "cron.d/php ----" in (tmp_path / "jobs.py").read_text()


def test_a_crontab_comes_from_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CRONTAB.encode())))
    assert len(json.loads(command("-", "--json")[1])["jobs"]) == 3


def test_times_are_those_of_this_machine_unless_somebody_says_others(command: Command) -> None:
    assert json.loads(command("crontab", "--json")[1])["jobs"][0]["timezone"] == zone_of_this_machine()


def test_what_is_no_text_reaches_the_program_as_it_is(command: Command, tmp_path: Path) -> None:
    (tmp_path / "crontab").write_bytes(b"# caf\xe9\n\n@daily echo caf\xe9 \xff\n")
    assert command("crontab", "--write", "jobs.py")[0] == 0
    assert command("crontab")[0] == 0
    assert "echo caf\\udce9 \\udcff" in (tmp_path / "jobs.py").read_text()


# What is written is what was read ------------------------------------------------------------------------------------


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high)).map(lambda both: f"{both[0]}/{both[1]}")
    return st.one_of(st.just("*"), st.lists(st.one_of(number, span, step), min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.one_of(
    st.sampled_from(["@reboot", "@daily", "@weekly", "@hourly", "@yearly"]),
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).map(" ".join),
)
TEXTS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40)
LINES = st.one_of(
    st.tuples(EXPRESSIONS, TEXTS).map("\t".join),
    TEXTS.map("# {}".format),
    st.tuples(st.sampled_from(["A", "PATH", "MAILTO"]), TEXTS).map("=".join),
    TEXTS,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(LINES, max_size=8), has_users=st.booleans())
def test_whatever_was_read_is_declared_with_the_same_schedules(*, lines: list[str], has_users: bool) -> None:
    read = read_crontab("\n".join(lines), tz="Europe/Rome", has_users=has_users)
    crontabs = Crontabs([Crontab("a crontab", read, has_users)], [])
    entries = [item for item in read if isinstance(item, CrontabJob)]
    found = declared(app_of(write_module(crontabs)))
    assert [(name, schedule) for name, schedule, _ in found] == [
        (name, entry.schedule) for name, entry in zip(crontabs.names, entries, strict=True)
    ]
    assert [text for _, _, text in found if not text.startswith("Runs ")] == [
        entry.description for entry in entries if entry.description and not entry.description.startswith("Runs ")
    ]
