"""Expressions in words, in 12 and in 24 hours."""

from __future__ import annotations

import pytest

from mainspring.domain.schedule import Cron

IN_12_HOURS = [
    # Times of day
    ("0 10 * * MON", "Every Monday at 10:00 AM"),
    ("30 2 * * *", "Every day at 2:30 AM"),
    ("0 0 * * *", "Every day at 12:00 AM"),
    ("0 12 * * *", "Every day at 12:00 PM"),
    ("0 9,17 * * *", "Every day at 9:00 AM and 5:00 PM"),
    ("0 0,12 * * *", "Every day at 12:00 AM and 12:00 PM"),
    ("*/30 2 * * *", "Every day at 2:00 AM and 2:30 AM"),
    ("15 30 2 * * *", "Every day at 2:30:15 AM"),
    ("0 1,5,7,13,20 * * *", "Every day at 1:00 AM, 5:00 AM, 7:00 AM, 1:00 PM and 8:00 PM"),
    # Rhythms
    ("* * * * *", "Every minute"),
    ("*/5 * * * *", "Every 5 minutes"),
    ("0-55/5 * * * *", "Every 5 minutes"),
    ("0 * * * *", "Every hour"),
    ("15 * * * *", "Every hour at 15 minutes past"),
    ("1 1 */2 * * *", "Every 2 hours at 1 minute and 1 second past"),
    ("0 */2 * * *", "Every 2 hours"),
    ("0 */12 * * *", "Every 12 hours"),
    ("* * * * * *", "Every second"),
    ("*/10 * * * * *", "Every 10 seconds"),
    ("30 * * * * *", "Every minute at 30 seconds past"),
    ("30 */5 * * * *", "Every 5 minutes at 30 seconds past"),
    # Rhythms within hours
    ("0 9-17 * * MON-FRI", "Every hour from 9:00 AM to 5:00 PM on weekdays"),
    ("0 22-2 * * *", "Every hour from 10:00 PM to 2:00 AM"),
    ("0 8-18/2 * * *", "Every 2 hours from 8:00 AM to 6:00 PM"),
    ("*/15 9-17 * * *", "Every 15 minutes from 9:00 AM to 5:45 PM"),
    ("*/15 9-11,14-17 * * *", "Every 15 minutes from 9:00 AM to 11:45 AM and from 2:00 PM to 5:45 PM"),
    ("*/10 22-2 * * *", "Every 10 minutes from 10:00 PM to 2:50 AM"),
    ("* 2 * * *", "Every minute from 2:00 AM to 2:59 AM"),
    ("*/5 1,3,5,7 * * *", "Every 5 minutes during the hours of 1 AM, 3 AM, 5 AM and 7 AM"),
    ("* 30 2 * * *", "Every second from 2:30:00 AM to 2:30:59 AM"),
    ("*/10 * 9-17 * * *", "Every 10 seconds from 9:00:00 AM to 5:59:50 PM"),
    # What has no rhythm
    ("*/7 * * * *", "Every 7 minutes from 0 to 56 minutes past every hour"),
    ("5,17,44 * * * *", "At 5, 17 and 44 minutes past every hour"),
    ("5,17,44 9-17 * * *", "At 5, 17 and 44 minutes past every hour from 9 AM to 5 PM"),
    ("5,17,44 2,4,6,8,12 * * *", "At 5, 17 and 44 minutes past 2 AM, 4 AM, 6 AM, 8 AM and 12 PM"),
    ("5,10 * * * * *", "At 5 and 10 seconds past every minute"),
    ("5,10 * 9-17 * * *", "At 5 and 10 seconds past every minute of every hour from 9 AM to 5 PM"),
    (
        "5,10 0,30 */2 * * *",
        "At 5 and 10 seconds past minutes 0 and 30 of "
        + ", ".join([f"{hour} {half}" for half in ("AM", "PM") for hour in (12, 2, 4, 6, 8, 10)][:-1])
        + " and 10 PM",
    ),
    ("*/10 */15 * * * *", "Every 10 seconds from 0 to 50 seconds past minutes 0, 15, 30 and 45 of every hour"),
    # Weekdays
    ("0 9 * * MON-FRI", "Every weekday at 9:00 AM"),
    ("0 9 * * 1,2,3,4,5", "Every weekday at 9:00 AM"),
    ("0 9 * * SAT,SUN", "Every Saturday and Sunday at 9:00 AM"),
    ("0 9 * * MON,WED,FRI", "Every Monday, Wednesday and Friday at 9:00 AM"),
    ("0 9 * * FRI-MON", "Every day from Friday to Monday at 9:00 AM"),
    ("0 9 * * 0-6", "Every day at 9:00 AM"),
    ("*/5 * * * MON", "Every 5 minutes on Mondays"),
    ("*/5 * * * 6,7", "Every 5 minutes on Saturdays and Sundays"),
    ("*/5 * * * TUE-THU", "Every 5 minutes, Tuesday to Thursday"),
    # Days of the month
    ("30 2 1 * *", "At 2:30 AM on the first day of the month"),
    ("0 0 1,15 * *", "At 12:00 AM on the 1st and the 15th of the month"),
    ("0 0 2,3,22 * *", "At 12:00 AM on the 2nd, the 3rd and the 22nd of the month"),
    ("0 0 1-7 * *", "At 12:00 AM on each day from the 1st to the 7th of the month"),
    ("0 0 30-2 * *", "At 12:00 AM on each day from the 30th to the 2nd of the month"),
    ("0 0 */2 * *", "At 12:00 AM on every 2nd day from the 1st to the 31st of the month"),
    ("30 2 L * *", "At 2:30 AM on the last day of the month"),
    ("30 2 1,L * *", "At 2:30 AM on the 1st and the last day of the month"),
    ("30 2 LW * *", "At 2:30 AM on the last weekday of the month"),
    ("30 2 15W * *", "At 2:30 AM on the weekday nearest the 15th of the month"),
    ("0 18 * * 5L", "At 6:00 PM on the last Friday of the month"),
    ("0 18 * * 5#2", "At 6:00 PM on the second Friday of the month"),
    ("0 18 * * MON,5#2", "At 6:00 PM on every Monday and the second Friday of the month"),
    ("*/5 * 1 * *", "Every 5 minutes on the first day of the month"),
    # Both day fields
    ("0 0 13 * FRI", "At 12:00 AM on the 13th of the month and on every Friday"),
    ("0 0 13 1 FRI", "At 12:00 AM on the 13th of the month and on every Friday in January"),
    ("0 0 1-31 * FRI", "Every day at 12:00 AM"),
    ("0 0 */2 * 1", "At 12:00 AM on every 2nd day from the 1st to the 31st of the month if it is a Monday"),
    ("0 0 1-7 * */6", "At 12:00 AM on each day from the 1st to the 7th of the month if it is a Saturday or a Sunday"),
    ("0 0 ? * MON", "Every Monday at 12:00 AM"),
    # Months
    ("0 0 1 1 *", "At 12:00 AM on the first day of January"),
    ("0 0 29 2 *", "At 12:00 AM on the 29th of February"),
    ("0 6 1 */3 *", "At 6:00 AM on the first day of January, April, July and October"),
    ("0 6 1 JUN-AUG *", "At 6:00 AM on the first day of each month from June to August"),
    ("0 6 * 7 *", "Every day at 6:00 AM in July"),
    ("0 6 * NOV-FEB MON", "Every Monday at 6:00 AM, from November to February"),
    ("*/5 * * 7,12 *", "Every 5 minutes in July and December"),
    # Macros
    ("@hourly", "Every hour"),
    ("@daily", "Every day at 12:00 AM"),
    ("@weekly", "Every Sunday at 12:00 AM"),
    ("@monthly", "At 12:00 AM on the first day of the month"),
    ("@yearly", "At 12:00 AM on the first day of January"),
]

IN_24_HOURS = [
    ("30 2 1 * *", "At 02:30 on the first day of the month"),
    ("0 10 * * MON", "Every Monday at 10:00"),
    ("0 9,17 * * *", "Every day at 09:00 and 17:00"),
    ("*/15 9-17 * * MON-FRI", "Every 15 minutes from 09:00 to 17:45 on weekdays"),
    ("*/5 1,3,5,7 * * *", "Every 5 minutes during the hours of 01:00, 03:00, 05:00 and 07:00"),
    ("* 30 14 * * *", "Every second from 14:30:00 to 14:30:59"),
    ("15 30 14 * * *", "Every day at 14:30:15"),
]


@pytest.mark.parametrize(("expression", "words"), IN_12_HOURS)
def test_an_expression_reads_as_a_sentence(expression: str, words: str) -> None:
    assert Cron(expression).describe() == words


@pytest.mark.parametrize(("expression", "words"), IN_24_HOURS)
def test_an_expression_reads_as_a_sentence_in_24_hours(expression: str, words: str) -> None:
    assert Cron(expression).describe(24) == words


def test_words_tell_apart_a_rhythm_from_the_same_fixed_times() -> None:
    assert Cron("0 */6 * * *").describe() == "Every 6 hours"
    assert Cron("0 0,6,12,18 * * *").describe() == "Every 6 hours from 12:00 AM to 6:00 PM"
