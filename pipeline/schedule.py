"""A cron expression as a systemd timer or a crontab entry that calls `blendinator retrain`."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from blendinator.errors import BlendinatorError, ConfigError
from blendinator.pipeline import cron

UNITS = "~/.config/systemd/user"


class ScheduleError(BlendinatorError):
    """The schedule cannot be installed on this machine."""


def command(config_path: str | None) -> list[str]:
    """What the schedule calls: absolute paths, since cron knows neither this folder nor this environment."""
    words = [str(Path(sys.executable).with_name("blendinator")), "retrain"]
    return words + (["--config", str(Path(config_path).resolve())] if config_path else [])


def systemd_units(name: str, expression: str, words: list[str], folder: str) -> dict[str, str]:
    """File name to text of the service and its timer.

    Raises:
      ConfigError: a path that systemd cannot take.
    """
    service = (
        f"[Unit]\nDescription=Retraining of {name}\n\n[Service]\nType=oneshot\nWorkingDirectory={_plain(folder)}\n"
        f"ExecStart={_exec(words)}\n# 3: the model was refused, which is not a failure of the service.\n"
        "SuccessExitStatus=3\n"
    )
    timer = (
        f"[Unit]\nDescription=Retraining of {name}\n\n[Timer]\nOnCalendar={cron.to_systemd(expression)}\n"
        "# A run that was missed while the machine was off is caught up.\nPersistent=true\n\n[Install]\n"
        "WantedBy=timers.target\n"
    )
    return {f"{name}-retrain.service": service, f"{name}-retrain.timer": timer}


def _exec(words: list[str]) -> str:
    """A command line in systemd's quoting, which is not the shell's: `%` begins a specifier, `$` a variable."""
    quote = lambda word: (
        word if re.fullmatch(r"[\w@+=:,./%-]+", word) else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'
    )
    if re.search(r"""["'\\]""", words[0]):  # systemd refuses a program with such a name
        words = ["/usr/bin/env", *words]
    literal = ":" if any("$" in word for word in words) else ""  # no variables in this line
    return literal + " ".join(quote(_plain(word)) for word in words)


def _plain(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{text}: systemd takes paths in UTF-8 only. Rename it, or use `kind` crontab.")
    if "\n" in text or text.endswith(("\\", " ")):
        raise ConfigError(
            f"{text!r}: systemd takes no path with a line end, or with a space or backslash at its end. Rename it, or"
            " use `kind` crontab."
        )
    return text.replace("%", "%%")


def crontab_line(name: str, expression: str, words: list[str], folder: str) -> str:
    """The entry, with a mark by which it is found again."""
    cron.parse(expression)
    text = f"cd {shlex.quote(folder)} && {shlex.join(words)} >/dev/null 2>&1".replace("%", r"\%")
    return f"{expression} {text} {_mark(name)}"


def merge_crontab(present: str, name: str, line: str) -> str:
    """A crontab with the entry of this name replaced or added; all else stays."""
    kept = [one for one in present.splitlines() if not one.endswith(_mark(name))]
    return "\n".join([*kept, line]) + "\n"


def default_kind() -> str:
    """ "systemd" where a user's systemd answers, else "crontab"."""
    if shutil.which("systemctl"):
        found = subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True)
        if found.returncode == 0:
            return "systemd"
    return "crontab"


def install_systemd(units: dict[str, str], folder: str | Path = UNITS) -> None:
    """Writes the units and starts the timer.

    Raises:
      ScheduleError: systemd does not take them.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        (folder / name).write_text(text, encoding="utf-8")
    timer = next(name for name in units if name.endswith(".timer"))
    for words in (["systemctl", "--user", "daemon-reload"], ["systemctl", "--user", "enable", "--now", timer]):
        _call(words, f"The units are in {folder}; enable {timer} by hand, or use `kind` crontab.")


def install_crontab(name: str, line: str) -> None:
    """Adds the entry to the user's crontab, in place of an earlier one of the same name.

    Raises:
      ScheduleError: there is no cron, or it refuses the entry.
    """
    if not shutil.which("crontab"):
        raise ScheduleError("crontab: this program is not installed. Install cron, or use `kind` systemd.")
    present = subprocess.run(["crontab", "-l"], capture_output=True, text=True)
    _call(
        ["crontab", "-"],
        "Add the line by hand with `crontab -e`.",
        merge_crontab(present.stdout if present.returncode == 0 else "", name, line),
    )


def _call(words: list[str], remedy: str, text: str | None = None) -> None:
    try:
        process = subprocess.run(words, input=text, capture_output=True, text=True)
    except OSError as error:
        raise ScheduleError(f"{words[0]}: this cannot be called ({error.strerror}). {remedy}")
    if process.returncode:
        raise ScheduleError(
            f"{shlex.join(words)} ended with code {process.returncode}: {process.stderr.strip()}. {remedy}"
        )


def _mark(name: str) -> str:
    return f"# blendinator {name}"
