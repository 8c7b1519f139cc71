"""Tests of the stack's name."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from blendinator import stack
from blendinator.errors import MachineError
from blendinator.model.client import Segmenter
from blendinator.pipeline.cli import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("version", "name"), [("2.16.2", "compatible"), ("2.21.0", "current"), ("2.22.1", "current")])
def test_name_follows_the_installed_tensorflow(monkeypatch, version, name):
    monkeypatch.setattr(metadata, "version", lambda package: version)
    assert stack.stack_name() == name


def test_version_names_the_stack():
    output = CliRunner().invoke(main, ["--version"]).output
    assert re.match(rf"blendinator \S+, stack {stack.stack_name()} \(tfx \S+, tensorflow \S+, keras ", output)


def test_module_imports_no_library():
    code = (
        "import sys, blendinator.stack; sys.exit(any(name in sys.modules for name in ('tfx', 'tensorflow', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_tensorflow_is_loaded_without_a_word_and_standard_error_is_left_open():
    code = (
        "import sys; from blendinator.stack import load_tensorflow_quietly; load_tensorflow_quietly();"
        "import tensorflow; print('still here', file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "still here\n")


@pytest.fixture
def old_processor(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Atom\nflags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2\n")
    monkeypatch.setattr(stack, "CPUINFO", path)


@pytest.mark.parametrize("arguments", [["demo"], ["segment", "f.fits", "--output", "m.fits"], ["run"], ["retrain"]])
def test_without_avx_there_is_a_message_instead_of_a_crash(arguments, old_processor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "This machine's processor has no AVX instructions, and TensorFlow's wheels need them." in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"cpuinfo"}


def test_without_avx_the_library_says_so_too(old_processor):
    with pytest.raises(MachineError, match="no AVX"):
        Segmenter.load()


@pytest.mark.parametrize("text", ["flags : sse avx", "Features : fp asimd", ""])
def test_other_processors_are_let_pass(text, tmp_path, monkeypatch):
    monkeypatch.setattr(stack, "CPUINFO", tmp_path / "cpuinfo")
    stack.check_processor()  # there is no such file
    (tmp_path / "cpuinfo").write_text(text)
    stack.check_processor()


def test_beam_runs_in_memory():
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    stack.use_in_memory_runner()
    pipeline = beam.Pipeline(argv=["--runner=DirectRunner"])
    pipeline | beam.Create([1])
    assert isinstance(pipeline.run(), fn_runner.RunnerResult)


def test_setup_finds_the_same_interpreter_in_an_activated_shell():
    """`make` must not take the interpreter of the environment that it may be about to empty."""
    script = (ROOT / "scripts" / "setup.sh").read_text()
    lines = re.search(r"(?m)^PATH=.*$", script)[0], re.search(r"(?ms)^find_python\(\).*?^}", script)[0]
    bin_folder, rest = str(ROOT / ".venv" / "bin"), "/usr/local/bin:/usr/bin:/bin"
    found = []
    for path in (rest, f"{bin_folder}:{rest}", f"/usr/local/bin:{bin_folder}:/usr/bin:/bin", f"{rest}:{bin_folder}"):
        code = "\n".join([*lines, "find_python 3.13 3.12 3.11 3.10", "echo $PATH"])
        process = subprocess.run(
            ["sh", "-c", code], cwd=ROOT, capture_output=True, text=True, env={"PATH": path, "HOME": os.environ["HOME"]}
        )
        assert process.returncode == 0, process.stderr
        found.append(process.stdout)
    assert len(set(found)) == 1 and found[0].splitlines()[-1] == rest
