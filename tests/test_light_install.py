"""What the package needs without its extra `pipeline`: an image is segmented where nothing of TFX can be imported."""

import subprocess
import sys

import pytest

from blendinator.model import released

WITHOUT = (
    "import sys, importlib.abc\n"
    "class Hidden(importlib.abc.MetaPathFinder):\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in {'tfx', 'tfx_bsl', 'apache_beam', 'tensorflow_transform', 'jinja2', 'sep',\n"
    "                                  'tensorflow_probability', 'tensorflow_data_validation', 'ml_metadata', 'kfp'}:\n"
    "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    "sys.meta_path.insert(0, Hidden())\n"
    "from blendinator.pipeline.cli import main\n"
    "main(sys.argv[1:])\n"
)


def call(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_the_help_needs_nothing_of_tfx(tmp_path):
    process = call("--help", cwd=tmp_path)
    assert process.returncode == 0 and "segment" in process.stdout, process.stderr


def test_a_pipeline_command_says_what_to_install(tmp_path):
    process = call("run", cwd=tmp_path)
    assert process.returncode == 1
    assert "pip install 'blendinator[pipeline]'" in process.stderr and "Traceback" not in process.stderr


@pytest.mark.skipif(released.card() is None, reason="this checkout ships no released model")
def test_the_demo_runs_with_the_released_model(tmp_path):
    process = call("demo", "--output", "out", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "field.fits",
        "maps.fits",
        "objects.ecsv",
        "maps.png",
    }
