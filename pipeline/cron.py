"""Cron expressions of five fields: minute, hour, day of the month, month, day of the week."""

import re

from blendinator.errors import ConfigError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ITEM = re.compile(r"(\*|\d+(?:-\d+)?)(?:/(\d+))?")


def parse(expression: str) -> tuple[tuple[int, ...] | None, ...]:
    """The values of each of the five fields, or None where all are meant.

    Raises:
      ConfigError: it is not a cron expression of five fields.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ConfigError(
            f"`cron`: received {expression!r}, which has {len(fields)} fields; allowed: minute, hour, day of the "
            "month, month, day of the week, such as '0 3 * * 1'"
        )
    return tuple(_parse_field(expression, text, *field) for text, field in zip(fields, _FIELDS))


def to_systemd(expression: str) -> str:
    """The expression as systemd's OnCalendar: "0 3 * * 1" is "Mon *-*-* 03:00:00".

    Raises:
      ConfigError: it is not a cron expression, or restricts both days of the month and of the week: cron then means
        either, systemd both.
    """
    minute, hour, day, month, weekday = parse(expression)
    if day is not None and weekday is not None:
        raise ConfigError(
            f"`cron`: received {expression!r}; allowed: either a day of the month or a day of the week, since systemd "
            "would require both. Use `kind` crontab."
        )

    def join(values: tuple[int, ...] | None, width: int) -> str:
        return "*" if values is None else ",".join(f"{value:0{width}d}" for value in values)

    days = "" if weekday is None else ",".join(dict.fromkeys(_DAYS[value] for value in weekday)) + " "
    return f"{days}*-{join(month, 2)}-{join(day, 2)} {join(hour, 2)}:{join(minute, 2)}:00"


def to_kubeflow(expression: str) -> str:
    """The expression as Kubeflow's six fields, seconds first: "0 3 * * 1" is "0 0 3 * * 1".

    Raises:
      ConfigError: it is not a cron expression of five fields.
    """
    parse(expression)
    return f"0 {' '.join(expression.split())}"


def _parse_field(expression: str, text: str, label: str, low: int, high: int) -> tuple[int, ...] | None:
    values: set[int] = set()
    for part in text.split(","):
        match = _ITEM.fullmatch(part)
        first, _, last = (match[1] if match else "").partition("-")
        span = (low, high) if first == "*" else (int(first or -1), int(last or first or -1))
        step = int(match[2] or 1) if match else 0
        if first != "*" and match and match[2] and not last:  # "5/10" is not standard
            step = 0
        if not match or step < 1 or not low <= span[0] <= span[1] <= high:
            raise ConfigError(
                f"`cron`: received {expression!r}; allowed for the {label}: *, numbers from {low} to {high}, "
                "ranges, lists and steps such as */15"
            )
        values.update(range(span[0], span[1] + 1, step))
    everything = set(range(low, high + 1 - (high == 7)))  # 7 is Sunday again
    return None if values >= everything else tuple(sorted(values))
