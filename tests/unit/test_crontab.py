"""What crontabs say, by the rules of Debian's cron."""

from __future__ import annotations

import textwrap

import pytest

from mainspring.domain.crontab import (
    CrontabAssignment,
    CrontabComment,
    CrontabItem,
    CrontabJob,
    UnreadableLine,
    read_crontab,
    split_percent,
)
from mainspring.domain.crontab_names import names_of
from mainspring.domain.job import check_name
from mainspring.domain.schedule import Cron, OnStartup

SYSTEM = """
# /etc/crontab: system-wide crontab
SHELL=/bin/sh
# Example of job definition:
# .---------------- minute (0 - 59)
# |  .------------- hour (0 - 23)
# *  *  *  *  * user-name command to be executed
17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly
25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
#
"""


def items(text: str, *, tz: str = "UTC", has_users: bool = False) -> list[CrontabItem]:
    return read_crontab(textwrap.dedent(text), tz=tz, has_users=has_users)


def jobs(text: str, *, tz: str = "UTC", has_users: bool = False) -> list[CrontabJob]:
    return [item for item in items(text, tz=tz, has_users=has_users) if isinstance(item, CrontabJob)]


def only(text: str) -> CrontabItem:
    [item] = items(text)
    return item


def test_the_system_s_crontab_names_users() -> None:
    hourly, daily = jobs(SYSTEM, has_users=True)
    assert (hourly.user, hourly.command) == ("root", "cd / && run-parts --report /etc/cron.hourly")
    assert (hourly.line, hourly.expression, hourly.environment) == (8, "17 * * * *", {"SHELL": "/bin/sh"})
    assert daily.expression == "25 6 * * *"


def test_a_crontab_of_a_user_names_none() -> None:
    [job] = jobs("17 * * * * root is a word of the command")
    assert (job.user, job.command) == (None, "root is a word of the command")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("NAME = value", "value"),
        ("  NAME=  two words  ", "two words"),
        ('NAME="  kept  "', "  kept  "),
        ("NAME = '  kept  '  ", "  kept  "),
        ("NAME=$HOME/bin", "$HOME/bin"),
        ("NAME=it's", "it's"),
        ('NAME=""', ""),
        ("NAME=", ""),
        ('"NAME"=value # not a comment', "value # not a comment"),
        ("NAME=a=b", "a=b"),
    ],
)
def test_an_assignment_is_read_as_cron_reads_it(line: str, value: str) -> None:
    assert only(line) == CrontabAssignment(1, "NAME", value)


def test_a_quoted_value_that_goes_on_assigns_nothing() -> None:
    assert isinstance(only('NAME="a" b'), UnreadableLine)


def test_an_equals_sign_in_a_command_assigns_nothing() -> None:
    assert [job.command for job in jobs("@daily A=1 sync\n0 5 * * * B=2 sync")] == ["A=1 sync", "B=2 sync"]


def test_assignments_hold_for_the_lines_after_them() -> None:
    found = jobs("@daily one\nA=1\n@daily two\nA=2\nB=3\n@daily three")
    assert [job.environment for job in found] == [{}, {"A": "1"}, {"A": "2", "B": "3"}]


def test_the_zone_of_the_times_changes_from_line_to_line() -> None:
    found = jobs("0 9 * * * a\nCRON_TZ=Asia/Tokyo\n0 9 * * * b\nTZ=America/Lima\n0 9 * * * c", tz="Europe/Rome")
    assert [job.schedule for job in found] == [
        Cron("0 9 * * *", "Europe/Rome"),
        Cron("0 9 * * *", "Asia/Tokyo"),
        Cron("0 9 * * *", "Asia/Tokyo"),
    ]


def test_entries_below_a_zone_that_nobody_knows_cannot_be_read() -> None:
    _, entry = items("CRON_TZ=Europe/Roma\n0 9 * * * a")
    assert isinstance(entry, UnreadableLine)
    assert "Europe/Rome" in entry.reason


@pytest.mark.parametrize(
    ("macro", "expression"),
    [
        ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"), ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@hourly", "0 * * * *"),
    ],
)  # fmt: skip
def test_a_macro_stands_for_its_expression(macro: str, expression: str) -> None:
    [job] = jobs(f"{macro}   sync --all")
    assert (job.schedule, job.command) == (Cron(expression), "sync --all")


def test_reboot_is_the_start_of_the_application() -> None:
    [job] = jobs("@reboot sync")
    assert (job.schedule, job.expression) == (OnStartup(), "@reboot")


def test_days_follow_the_rule_of_debian() -> None:
    """Either day is enough, unless one of the fields starts with a star."""
    either, both = jobs("0 0 13 * FRI a\n0 0 */2 * FRI a")
    assert either.schedule.describe() != both.schedule.describe()
    assert either.schedule == Cron("0 0 13 * 5")


@pytest.mark.parametrize(
    ("written", "command", "stdin"),
    [
        ("date", "date", None),
        (r"date +\%F", "date +%F", None),
        ("mail ada%hello", "mail ada", "hello\n"),
        ("mail ada%hello%there%", "mail ada", "hello\nthere\n"),
        (r"cat%100\% \x", "cat", "100% \\x\n"),
        (r"echo a\\%b", "echo a\\", "b\n"),
        (r"sed 's/\(a\)/\1/'", r"sed 's/\(a\)/\1/'", None),
        ("cat%", "cat", None),
        ("cat %%", "cat ", "\n"),
    ],
)
def test_percent_signs_begin_the_input_and_its_lines(written: str, command: str, stdin: str | None) -> None:
    assert split_percent(written) == (command, stdin)


def test_the_comment_above_an_entry_describes_it() -> None:
    first, second = jobs("""
        # Dump of the shop's database,
        # kept for a week.
        30 2 * * * backup
        @daily sync
    """)
    assert (first.description, second.description) == ("Dump of the shop's database, kept for a week.", "")


@pytest.mark.parametrize(
    "above",
    [
        "# What follows is empty.\n",
        "# Every year:\n# 0 5 1 1 * party --all",
        "# Edit this file.\n#\n# m h  dom mon dow   command",
        "# About the variable.\nA=1",
        "# .------ minute",
    ],
)
def test_other_comments_are_kept_and_describe_nothing(above: str) -> None:
    found = read_crontab(f"{above}\n30 2 * * * backup")
    assert isinstance(found[0], CrontabComment)
    assert [item.description for item in found if isinstance(item, CrontabJob)] == [""]


def test_what_stands_above_a_separation_is_no_description() -> None:
    comment, job = items("# m h  dom mon dow   command\n# Nightly.\n30 2 * * * backup")
    assert comment == CrontabComment(1, ["m h  dom mon dow   command"])
    assert isinstance(job, CrontabJob)
    assert job.description == "Nightly."


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("61 * * * * x", "minute, character 1: 61 is out of range"),
        ("* * * * x", "day of week, character 9"),
        ("0 9 * * *", "comes a command"),
        ("@daily", "comes a command"),
        ("0 9 * * *  %input", "comes a command"),
        ("@fortnightly x", "unknown macro"),
        ("0 0 30 2 * x", "can never fire"),
        ("hello", "it is no assignment"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, reason: str) -> None:
    item = only(line)
    assert isinstance(item, UnreadableLine)
    assert reason in item.reason
    assert (item.line, item.text) == (1, line)


def test_an_entry_of_the_system_without_a_command_cannot_be_read() -> None:
    [item] = items("0 9 * * * root", has_users=True)
    assert isinstance(item, UnreadableLine)
    assert "a user and a command" in item.reason


def test_every_line_comes_back() -> None:
    text = "# a\n\nB=1\n# c\n@daily d\ne\n# f"
    assert [item.line for item in read_crontab(text)] == [1, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full > /var/log/backup.log 2>&1", "backup"),
        ("cd /srv/app && venv/bin/python manage.py clearsessions", "manage-clearsessions"),
        ("cd / && run-parts --report /etc/cron.hourly", "run-parts-cron.hourly"),
        ("flock -n /run/x.lock sudo -u www-data php /srv/artisan schedule:run >> /dev/null", "artisan-schedule-run"),
        ("su - postgres -c 'pg_dump shop'", "pg_dump"),
        ("A=1 timeout 10m nice -n 19 curl -fsS https://example.com/ping", "curl"),
        ("[ -x /usr/bin/certbot ] && certbot -q renew", "certbot"),
        ("trigger", "trigger-job"),
        ("'ünï'", "n"),
        ("...", "command"),
    ],
)
def test_a_name_is_the_word_that_tells_something(command: str, name: str) -> None:
    assert names_of([CrontabJob(1, Cron("@daily"), command)]) == [name]


def test_entries_that_would_share_a_name_take_in_further_words() -> None:
    found = jobs("@daily shop clean\n@daily shop digest\n@hourly shop digest")
    first, second, third = names_of(found)
    assert first == "shop-clean"
    assert second.startswith("shop-digest-")
    assert third.startswith("shop-digest-")
    assert second != third


def test_a_name_stays_when_entries_move() -> None:
    found = jobs("@daily a x\n@daily b\n@daily a y\n@hourly a x")
    assert names_of(found[::-1])[::-1] == names_of(found)


def test_names_are_unique_and_such_as_jobs_may_have() -> None:
    lines = ["@daily sync"] * 3 + [f"@daily {word}" for word in ("register", "%", "-", "ä" * 300, "x" * 300, "_._")]
    found = names_of(jobs("\n".join(lines)))
    assert len(set(found)) == len(found)
    assert [check_name(name) for name in found] == found
