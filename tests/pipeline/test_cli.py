"""The command line: quick help, one message per mistake, exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from blendinator.pipeline import cli, exit_codes, run, space
from blendinator.pipeline.commands._messages import with_option_names
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.history import report, run_log

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(f"output_dir: {tmp_path / 'output'}\n{text}")
    return path


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from blendinator.pipeline.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([name for name in ('tensorflow', 'tfx', 'numpy', 'apache_beam') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert process.stdout == "[]\n", process.stderr


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "trainnig: {steps: 5}",
            "config.yaml: trainnig: unknown key; allowed here: name, output_dir, storage",
        ),
        ("training: {stpes: 5}", "config.yaml: training.stpes: unknown key; allowed here: seed, steps"),
        ("training: {steps: 0}", "config.yaml: training.steps: received 0; allowed: an integer from 1 to"),
        ("training: {steps: many}", "config.yaml: training.steps: received 'many'; allowed: an integer"),
    ],
)
@pytest.mark.parametrize("command", ["run", "simulate"])
def test_wrong_configuration_is_one_message(command, text, message, tmp_path):
    result = invoke(command, "--config", write(tmp_path, text))
    assert result.exit_code == 1
    assert message in result.output and len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "output").exists()


def test_missing_configuration_file(tmp_path):
    result = invoke("run", "--config", tmp_path / "none.yaml")
    assert result.exit_code == 1 and "none.yaml: the configuration cannot be read" in result.output


def test_run_hands_over_its_options(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(run, "run", lambda *args, **options: calls.append((*args, options)) or 0)
    assert invoke("run", "--config", write(tmp_path, ""), "--spans", "1,3", "--no-cache").exit_code == 0
    [(config, spans, options)] = calls
    assert (config.output_dir, spans) == (str(tmp_path / "output"), "1,3")
    assert options == {"enable_cache": False, "verbose": False}


def test_missing_span_stops_the_run_with_one_message(tmp_path, capfd):
    config = read_config(write(tmp_path, ""))
    assert run.run(config, "7") == 1
    lines = capfd.readouterr().out.strip().splitlines()
    assert lines[0] == "Stopped"
    assert lines[1].endswith(
        "span 7 is missing or incomplete. Run `blendinator simulate --span 7` first, or choose from: none."
    )
    assert lines[2].startswith("Nothing was pushed. Log: ")
    assert not config.serving_dir.exists()


def test_full_disk_stops_the_run_with_one_message(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(space, "WORKING_SPACE", 1e18)
    assert run.run(read_config(write(tmp_path, ""))) == 1
    output = capfd.readouterr().out
    assert "GB left and a run may need" in output and "Free some space" in output and "Traceback" not in output


def test_unwritable_output_folder_is_one_message(tmp_path, capfd):
    (tmp_path / "output").write_text("a file where the folder should be")
    assert run.run(read_config(write(tmp_path, ""))) == 1
    assert "output" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "output: File exists. Check the path"),
        (["report", "--output", "/proc/x/y"], "/proc/x: No such file or directory. Check the path"),
    ],
)
def test_a_path_that_cannot_be_used_is_one_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(report, "write_report", lambda config, run, folder: Path(folder).mkdir(parents=True))
    (tmp_path / "output").touch()
    result = invoke(*arguments, "--config", write(tmp_path, ""))
    assert result.exit_code == 1 and message in result.output and len(result.output.strip().splitlines()) == 1


def test_simulate_prints_nothing_but_its_own_words(tmp_path):
    config = write(tmp_path, "simulation: {stamp_size: 32, train_scenes: 2, calibration_scenes: 2, test_scenes: 2}\n")
    command = [sys.executable, "-m", "blendinator.pipeline.cli", "simulate", "--config", config]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stderr) == (0, "")


def test_defect_keeps_its_traceback(tmp_path, monkeypatch, capfd):
    def broken(*arguments):
        raise ValueError("shapes differ")

    monkeypatch.setattr(run, "run_pipeline", broken)
    with pytest.raises(ValueError, match="shapes differ"):
        run.run(read_config(write(tmp_path, "")))
    assert "Stopped by an unexpected ValueError" in capfd.readouterr().out
    [log] = (tmp_path / "output" / "logs").glob("run-*.log")
    assert "Traceback" in log.read_text()
    [entry] = run_log.read(tmp_path / "output")
    assert (entry["status"], entry["reason"], entry["log"]) == ("failed", "ValueError: shapes differ", str(log))


@pytest.mark.parametrize(
    "pushed, state, code", [(True, "COMPLETE", 0), (False, "CACHED", 3), (False, "FAILED", 1), (False, "RUNNING", 1)]
)
def test_explain_shows_the_explanation_and_ends_as_the_run_did(pushed, state, code, tmp_path, monkeypatch):
    from blendinator.pipeline.history import explain

    found = {"pushed": pushed, "steps": [{"name": "Trainer", "state": state}]}
    monkeypatch.setattr(explain, "explain", lambda config, name: {**found, "run": name})
    result = invoke("explain", "--config", write(tmp_path, ""), "--run", "r1", "--json")
    assert result.exit_code == code and json.loads(result.output) == {**found, "run": "r1"}
    monkeypatch.setattr(explain, "render", lambda explanation: "as text")
    assert invoke("explain", "--config", write(tmp_path, "")).output == "as text\n"


def test_report_prints_its_paths(tmp_path, monkeypatch):
    from blendinator.pipeline.history import report

    monkeypatch.setattr(report, "write_report", lambda config, name, folder: (Path(folder, "a"), Path(folder, "b")))
    result = invoke("report", "--config", write(tmp_path, ""), "--output", "/f")
    assert result.exit_code == 0 and result.output == "/f/a\n/f/b\n"


def test_explain_before_any_run_is_one_message(tmp_path):
    result = invoke("explain", "--config", write(tmp_path, ""))
    assert result.exit_code == 1 and len(result.output.strip().splitlines()) == 1


def test_one_scene_is_drawn_again_with_its_picture(tmp_path):
    picture = tmp_path / "scene.png"
    outcome = invoke("simulate", "--scene", "1:4711", "--show", "--output", picture)
    assert outcome.exit_code == 0
    assert "scene_id              1:4711" in outcome.output and str(picture) in outcome.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert invoke("simulate", "--scene", "1:4711").output.splitlines() == outcome.output.splitlines()[:-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--show"], "--show needs --scene SPAN:NUMBER"),
        (["--scene", "1:2", "--output", "a.png"], "--output needs --show or --field SIDE"),
        (["--scene", "1:2", "--span", "3"], "--span, --scene and --field: give one of them"),
        (
            ["--field", "64", "--output", "field.png"],
            "field.png: received this name for a field; allowed: one that ends in .fits",
        ),
        (["--scene", "first"], "scene: received 'first'; allowed: <span>:<scene number>, such as 1:4711"),
        (["--scene", "1:99999999"], "scene 99999999: the span has no such scene"),
        (["--galaxies", "nowhere.fits"], "nowhere.fits"),
    ],
)
def test_simulate_names_what_is_wrong(tmp_path, arguments, message):
    outcome = invoke("simulate", "--config", write(tmp_path, ""), *arguments)
    assert outcome.exit_code != 0 and message in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["simulate", "--catalog", "my.ecsv"], "--catalog has been renamed: use --galaxies"),
        (["simulate", "--scene", "1:2", "--show", "--picture", "a.png"], "--picture has been renamed: use --output"),
        (["report", "--folder", "r"], "--folder has been renamed: use --output"),
        (["kubeflow", "try", "p.yaml", "--folder", "r"], "--folder has been renamed: use --output"),
        (["predict", "r", "--output", "p", "--no-samples"], "sample maps are written only with --write-samples"),
    ],
)
def test_former_options_name_the_new_ones(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == exit_codes.USAGE and message in result.output


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("words", [[], ["kubeflow"]])
def test_short_help_fits_its_line(words):
    """click cuts what does not fit into 80 columns, and ends it with dots."""
    result = CliRunner().invoke(cli.main, [*words, "--help"], terminal_width=80)
    assert "..." not in result.output.partition("Commands:")[2]


def test_results_go_to_output():
    """No command has another option for where its main result goes, and each one that writes a file has this one."""
    found = {
        " ".join(path): {name for one in command.params for name in one.opts} for path, command in commands(cli.main)
    }
    assert {path for path, options in found.items() if "--output" in options} == {
        *("demo", "predict", "report", "segment", "simulate", "kubeflow compile", "kubeflow try")
    }
    both = [path for path, options in found.items() if "--write-samples" in options]
    assert sorted(both) == ["predict", "segment"]


def test_messages_of_the_library_name_options():
    command = cli.main.commands["segment"]
    text = "`zero_point` or `num_samples`; call `blendinator run` or see `field`."
    assert with_option_names(text, command) == "--zero-point or --samples; call `blendinator run` or see `field`."
    assert with_option_names("`cron`: no", cli.main.commands["kubeflow"]) == "--cron: no"


def test_exit_codes_are_those_of_the_documentation():
    section = (ROOT / "docs" / "reliability.md").read_text().partition("## Exit codes")[2]
    found = dict(re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE))
    assert found == {str(code): meaning for code, meaning in exit_codes.MEANINGS.items()}


@pytest.mark.parametrize("status, code", [("pushed", 0), ("nothing", 0), ("refused", 3), ("failed", 1)])
def test_run_ends_with_the_code_of_its_status(status, code, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "perform", lambda *_: {"status": status})
    assert run.run(read_config(write(tmp_path, ""))) == code
    assert exit_codes.for_orchestrator(code) == (1 if status == "failed" else 0)


def test_simulate_writes_a_field_and_its_truth(tmp_path):
    output = tmp_path / "field.fits"
    result = invoke("simulate", "--field", "64", "--output", output)
    assert result.exit_code == 0 and f"{output}: a field of 64 x 64 pixels" in result.output
    assert (tmp_path / "field-truth.ecsv").exists()
    again = invoke("simulate", "--field", "64", "--output", output)
    assert (
        again.exit_code == 1
        and "field.fits: this file exists already. Give another name, or --overwrite." in again.output
    )
    assert invoke("simulate", "--field", "64", "--output", output, "--overwrite").exit_code == 0
