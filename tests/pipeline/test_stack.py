"""Tests of the stack's name."""

import re
import subprocess
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner

from pipeline import stack
from pipeline.cli import main


@pytest.mark.parametrize(("tfx", "name"), [("1.16.0", "compatible"), ("1.21.0", "current"), ("1.21.1", "current")])
def test_name_follows_the_installed_tfx(monkeypatch, tfx, name):
    monkeypatch.setattr(metadata, "version", lambda package: tfx)
    assert stack.stack_name() == name


def test_version_names_the_stack():
    output = CliRunner().invoke(main, ["--version"]).output
    assert re.match(rf"blendinator \S+, stack {stack.stack_name()} \(tfx \S+, tensorflow \S+, keras ", output)


def test_module_imports_no_library():
    code = "import sys, pipeline.stack; sys.exit(any(name in sys.modules for name in ('tfx', 'tensorflow', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_tensorflow_is_loaded_without_a_word_and_standard_error_is_left_open():
    code = ("import sys; from pipeline.stack import load_tensorflow_quietly; load_tensorflow_quietly();"
            "import model, tensorflow; print('still here', file=sys.stderr)")
    process = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "still here\n")


def test_beam_runs_in_memory():
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    stack.use_in_memory_runner()
    pipeline = beam.Pipeline(argv=["--runner=DirectRunner"])
    pipeline | beam.Create([1])
    assert isinstance(pipeline.run(), fn_runner.RunnerResult)
