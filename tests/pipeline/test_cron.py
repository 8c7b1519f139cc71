"""Cron expressions, and what they are for systemd and Kubeflow."""

import pytest

from blendinator.errors import ConfigError
from blendinator.pipeline import cron


@pytest.mark.parametrize(
    "expression, calendar",
    [
        ("0 3 * * 1", "Mon *-*-* 03:00:00"),
        ("30 2 * * *", "*-*-* 02:30:00"),
        ("*/20 3-5 * * *", "*-*-* 03,04,05:00,20,40:00"),
        ("0 0 1,15 * *", "*-*-01,15 00:00:00"),
        ("0 0 * 1-12/6 *", "*-01,07-* 00:00:00"),
        ("5 4 * * 0,7", "Sun *-*-* 04:05:00"),
        ("5 4 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 04:05:00"),
        ("* * * * *", "*-*-* *:*:00"),
        ("0-59 * * * 0-6", "*-*-* *:*:00"),
    ],
)
def test_to_systemd(expression, calendar):
    assert cron.to_systemd(expression) == calendar


@pytest.mark.parametrize(
    "expression, message",
    [
        ("0 3 * *", "which has 4 fields; allowed: minute, hour"),
        ("60 3 * * 1", "allowed for the minute: .* numbers from 0 to 59"),
        ("0 3-1 * * 1", "allowed for the hour"),
        ("0 3 0 * *", "allowed for the day of the month"),
        ("0 3 * 13 *", "allowed for the month"),
        ("0 3 * * mon", "allowed for the day of the week"),
        ("*/0 3 * * *", "allowed for the minute"),
        ("5/10 3 * * *", "allowed for the minute"),
    ],
)
def test_what_is_not_a_cron_expression(expression, message):
    with pytest.raises(ConfigError, match=message):
        cron.parse(expression)


def test_two_kinds_of_days_mean_something_else_to_systemd():
    with pytest.raises(ConfigError, match="either a day of the month or a day of the week.*Use `kind` crontab"):
        cron.to_systemd("0 3 1 * 1")


def test_to_kubeflow():
    assert cron.to_kubeflow("0 3  * * 1") == "0 0 3 * * 1"  # seconds first
    with pytest.raises(ConfigError, match="`cron`: received '0 0 3 . . 1', which has 6 fields"):
        cron.to_kubeflow("0 0 3 * * 1")
