"""Each check tells a sound machine from a broken one, and says what to do."""

import dataclasses
import json
import sqlite3
import subprocess
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner

from blendinator import lock
from blendinator.config import Config
from blendinator.data.spans import MANIFEST
from blendinator.pipeline import cli
from blendinator.pipeline.doctor import machine, output
from blendinator.pipeline.doctor.check import OK, WARNING

EXECUTIONS = "CREATE TABLE Execution (id INTEGER, last_known_state INTEGER)"


@pytest.fixture
def config(tmp_path):
    return dataclasses.replace(Config(), output_dir=str(tmp_path / "output"))


def version(serving, number):
    (serving / number / "variables").mkdir(parents=True)
    (serving / number / "saved_model.pb").touch()
    (serving / number / "variables" / "variables.index").touch()
    return serving / number


@pytest.mark.parametrize(
    "arguments, state",
    [
        (((3, 10, 13), "Linux", "x86_64"), "ok"),
        (((3, 13, 0), "Linux", "x86_64"), "ok"),
        (((3, 9, 1), "Linux", "x86_64"), "problem"),
        (((3, 14, 0), "Linux", "x86_64"), "problem"),
        (((3, 10, 13), "Darwin", "arm64"), "problem"),
    ],
)
def test_python(arguments, state):
    assert machine.python(*arguments).state == state


@pytest.mark.parametrize(
    "installed, state, text",
    [
        ({"apache-beam": "2.67.0", "dill": "0.3"}, "ok", "apache-beam 2.67.0, dill 0.3"),
        ({"apache-beam": "2.69.0", "dill": "0.3"}, "problem", "apache-beam 2.69.0 (allowed: <2.68,>=2.65)"),
        ({"apache-beam": "2.67.0"}, "problem", "dill is not installed"),
        ({"apache-beam": "2.67.0", "dill": "0.3", "kfp": "2.17"}, "problem", "kfp 2.17 (allowed: <2.6,>=2.5)"),
    ],
)
def test_pins(installed, state, text):
    def find(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    requirements = [
        "apache-beam<2.68,>=2.65",
        "dill",
        "gone; python_version < '3'",
        "kfp<2.6,>=2.5; extra == 'kubeflow'",
        "pytest; extra == 'test'",
    ]
    check = machine.pins(requirements, find)
    assert (check.state, check.text) == (state, text) and bool(check.remedy) is (state != "ok")


@pytest.mark.parametrize(
    "flags, state, text",
    [
        ("avx avx2 avx512_bf16", "ok", "bfloat16 by avx512_bf16"),
        ("avx avx2", "ok", "no bfloat16: training is in float32"),
        ("sse avx", "warning", "no AVX2"),
        ("sse", "problem", "no AVX"),
    ],
)
def test_processor(tmp_path, flags, state, text):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    check = machine.processor(tmp_path / "cpuinfo")
    assert check.state == state and text in check.text


def test_gpu(tmp_path):
    assert machine.gpu(tmp_path / "none").text.startswith("none")
    (tmp_path / "0000:00:05.0").mkdir()
    assert machine.gpu(tmp_path).text == "1 seen by the driver"


@pytest.mark.parametrize("kilobytes, state", [(8_000_000, "ok"), (1_000_000, "warning"), (None, "warning")])
def test_memory(tmp_path, kilobytes, state):
    (tmp_path / "meminfo").write_text(f"MemAvailable: {kilobytes} kB\n" if kilobytes else "MemTotal: 1 kB\n")
    assert machine.memory(tmp_path / "meminfo").state == state


def test_disk(config):
    assert output.disk(config).state == "ok"
    many = dataclasses.replace(config.simulation, train_scenes=10**9)
    check = output.disk(dataclasses.replace(config, simulation=many))
    assert check.state == "problem" and "Free some space" in check.remedy


def test_writable(tmp_path):
    assert output.writable("output folder", tmp_path / "a" / "b", "").state == "ok" and not list(tmp_path.iterdir())
    assert output.writable("output folder", "/proc/x", "Set output_dir").state == "problem"
    (tmp_path / "file").touch()
    check = output.writable("output folder", tmp_path / "file", "Set output_dir.")
    assert check.state == "problem" and "this is not a folder" in check.text


def test_running(tmp_path):
    assert output.running(tmp_path / "none").state == "ok"
    script = (
        "import sys\nfrom blendinator.lock import exclusive\nwith exclusive(sys.argv[1], 'run'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        check = output.running(tmp_path)
        assert check.state == "warning" and f"process {process.pid} (blendinator run, since" in check.text
        process.stdin.close()
        process.wait()
    assert output.running(tmp_path).state == "ok"
    with lock.exclusive(tmp_path, "run"):  # looking took nothing away
        pass


def test_spans(tmp_path):
    assert output.spans(tmp_path).state == "ok"
    (tmp_path / "span-0001").mkdir()
    check = output.spans(tmp_path)
    assert check.state == "warning" and "there is no manifest" in check.text and "simulates span 1" in check.remedy
    manifest = {
        "complete": True,
        "format_version": 1,
        "splits": {},
        "files": {"train-0.tfrecord.gz": {"split": "train", "records": 1, "sha256": ""}},
    }
    (tmp_path / "span-0001" / MANIFEST).write_text(json.dumps(manifest))
    check = output.spans(tmp_path)
    assert check.state == "problem" and "train-0.tfrecord.gz: this file is missing" in check.text
    assert "a run needs a complete one" in check.remedy
    (tmp_path / "span-0002").mkdir()
    (tmp_path / "span-0002" / MANIFEST).write_text(json.dumps({**manifest, "files": {}}))
    check = output.spans(tmp_path)
    assert check.state == "warning" and "skips it" in check.remedy


def test_store(tmp_path):
    path = tmp_path / "metadata.sqlite"
    assert output.store(path).state == "ok"
    with sqlite3.connect(path) as database:
        database.execute(EXECUTIONS)
        database.execute("INSERT INTO Execution VALUES (1, 3)")
    assert output.store(path).text.startswith("1 executions")
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO Execution VALUES (2, 2)")
    assert output.store(path).state == "warning" and "1 left open" in output.store(path).text
    path.write_bytes(b"no database" * 100)
    check = output.store(path)
    assert check.state == "problem" and "file is not a database" in check.text
    assert check.remedy.startswith(f"Move it away ({path}) if there is no copy")
    (tmp_path / "metadata.sqlite.backup").touch()
    assert f"cp {path}.backup {path}" in output.store(path).remedy


def test_serving(tmp_path):
    assert output.serving(tmp_path / "none").state == "ok"
    version(tmp_path, "7")
    live = version(tmp_path, "8")
    assert output.serving(tmp_path).text == "2 versions, live is 8"
    (tmp_path / ".incoming-9").mkdir()
    assert output.serving(tmp_path).state == "warning"
    (live / "variables" / "variables.index").unlink()
    assert output.serving(tmp_path).state == "problem"


def test_command(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"output_dir: {tmp_path}/output\n")
    (tmp_path / "output").mkdir()
    result = CliRunner().invoke(cli.main, ["doctor", "--config", str(path)])
    assert result.exit_code == 0 and "stack" in result.output and "keras" in result.output
    (tmp_path / "output" / "metadata.sqlite").write_bytes(b"no database" * 100)
    result = CliRunner().invoke(cli.main, ["doctor", "--config", str(path), "--json"])
    states = {one["name"]: one["state"] for one in json.loads(result.output)}
    assert result.exit_code == 1 and states["metadata"] == "problem" and states["python"] == "ok"


def test_pace_tells_how_long(config):
    found = machine.pace(config, "import sys; sys.stdin.read(); print('about 3 min')")
    assert (found.state, found.text) == (OK, "about 3 min")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise ImportError('no tensorflow')", "ImportError: no tensorflow"),
        ("import os; os.kill(os.getpid(), 4)", "exit status -4"),  # an illegal instruction
    ],
)
def test_a_tensorflow_that_does_not_run(config, program, message):
    found = machine.pace(config, program)
    assert found.state == WARNING and message in found.text and "make setup" in found.remedy
