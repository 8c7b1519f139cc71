"""The units and lines made from cron expressions, and their installation by stand-ins for cron and systemd."""

import shutil
import stat
import subprocess

import pytest
from click.testing import CliRunner

from blendinator.errors import ConfigError
from blendinator.pipeline import cli, schedule


def test_two_kinds_of_days_go_into_a_crontab():
    assert schedule.crontab_line("b", "0 3 1 * 1", ["x"], "/p").startswith("0 3 1 * 1 cd /p && x ")


def test_crontab_line_and_its_replacement():
    line = schedule.crontab_line("b", "0 3 * * 1", ["/bin/x", "--config", "/a b/c%d.yaml"], "/p q")
    assert line == r"0 3 * * 1 cd '/p q' && /bin/x --config '/a b/c\%d.yaml' >/dev/null 2>&1 # blendinator b"
    present = "MAILTO=me\n0 1 * * * old # blendinator b\n0 2 * * * other # blendinator c\n"
    assert schedule.merge_crontab(present, "b", line) == f"MAILTO=me\n0 2 * * * other # blendinator c\n{line}\n"
    assert schedule.merge_crontab("", "b", line) == line + "\n"


def test_units():
    units = schedule.systemd_units("b", "0 3 * * 1", ["/bin/x", "retrain"], "/p")
    assert set(units) == {"b-retrain.service", "b-retrain.timer"}
    assert "ExecStart=/bin/x retrain\n" in units["b-retrain.service"]
    assert "SuccessExitStatus=3" in units["b-retrain.service"]
    assert "OnCalendar=Mon *-*-* 03:00:00\n" in units["b-retrain.timer"]


def stand_in(folder, name, script):
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_crontab_is_installed_beside_what_is_there(tmp_path, monkeypatch):
    stand_in(
        tmp_path, "crontab", f'if [ "$1" = -l ]; then echo "1 1 * * * mine"; else /bin/cat > {tmp_path}/table; fi\n'
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    schedule.install_crontab("b", "0 3 * * 1 x # blendinator b")
    assert (tmp_path / "table").read_text() == "1 1 * * * mine\n0 3 * * 1 x # blendinator b\n"


def test_no_cron(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(schedule.ScheduleError, match="crontab: this program is not installed. Install cron"):
        schedule.install_crontab("b", "line")


def test_cron_refuses(tmp_path, monkeypatch):
    stand_in(tmp_path, "crontab", 'if [ "$1" = -l ]; then exit 1; fi\necho "bad minute" >&2; exit 2\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(schedule.ScheduleError, match="crontab - ended with code 2: bad minute. Add the line by hand"):
        schedule.install_crontab("b", "line")


def test_systemd_is_called(tmp_path, monkeypatch):
    stand_in(tmp_path, "systemctl", f'echo "$@" >> {tmp_path}/calls\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert schedule.default_kind() == "systemd"
    schedule.install_systemd({"b.service": "s", "b.timer": "t"}, tmp_path / "units")
    assert (tmp_path / "units" / "b.timer").read_text() == "t"
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--user show-environment",
        "--user daemon-reload",
        "--user enable --now b.timer",
    ]


def test_systemd_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert schedule.default_kind() == "crontab"
    with pytest.raises(schedule.ScheduleError, match="systemctl: this cannot be called.*use `kind` crontab"):
        schedule.install_systemd({"b.timer": "t"}, tmp_path / "units")


def test_command_shows_and_installs(tmp_path, monkeypatch):
    stand_in(tmp_path, "crontab", f'if [ "$1" = -l ]; then exit 1; fi\n/bin/cat > {tmp_path}/table\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "my.yaml").write_text("name: mine\n")
    words = ["schedule", "--cron", "0 3 * * 1", "--config", str(tmp_path / "my.yaml")]
    shown = CliRunner().invoke(cli.main, words)
    assert shown.exit_code == 0 and "Nothing was changed; --install applies it." in shown.output
    assert not (tmp_path / "table").exists()
    installed = CliRunner().invoke(cli.main, [*words, "--install"])
    assert installed.output.endswith("Installed.\n")
    line = (tmp_path / "table").read_text()
    assert line == installed.output.splitlines()[0] + "\n"
    assert line.startswith("0 3 * * 1 cd ") and f"retrain --config {tmp_path}/my.yaml" in line


def test_command_refuses_what_is_no_schedule(tmp_path):
    result = CliRunner().invoke(cli.main, ["schedule", "--cron", "monday", "--kind", "systemd"])
    assert result.exit_code == 1 and "which has 1 fields" in result.output


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["a b", "50%n", "it's", 'say "x"', "$HOME", "back\\slash", "ünïcode", "a;b"])
def test_systemd_reads_the_paths_as_they_are(tmp_path, name):
    """`systemd-analyze verify` looks for the program, so that a path it reads otherwise is not found."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "blendinator").symlink_to("/bin/true")
    words = [str(folder / "blendinator"), "retrain", "--config", str(folder / "c.yaml")]
    for file, text in schedule.systemd_units("b", "0 3 * * 1", words, str(folder)).items():
        (tmp_path / file).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "b-retrain.service")], capture_output=True, text=True
    )
    ours = [line for line in found.stderr.splitlines() if "b-retrain" in line]
    assert ours == [] and found.returncode == 0


def test_percent_and_dollar_in_units():
    words = ["/x y/bin", "--config", "/a%b/$c.yaml"]
    text = schedule.systemd_units("b", "0 3 * * 1", words, "/p%q")["b-retrain.service"]
    assert 'ExecStart=:"/x y/bin" --config "/a%%b/$c.yaml"\n' in text and "WorkingDirectory=/p%%q\n" in text


@pytest.mark.parametrize(
    ("folder", "message"), [("/a\udce9", "systemd takes paths in UTF-8 only"), ("/a\nb", "no path with a line end")]
)
def test_paths_that_systemd_cannot_take(folder, message):
    with pytest.raises(ConfigError, match=message):
        schedule.systemd_units("b", "0 3 * * 1", ["/x"], folder)
