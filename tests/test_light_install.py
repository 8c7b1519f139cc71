"""The wheel without an extra: an image is segmented where nothing is installed but the package and what it requires.

The fresh environment is a folder of links to the distributions that the wheel's metadata ask for, directly or by
others; Python sees it instead of its own site-packages.
"""

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from blendinator.model import released


def brought_by(requirements):
    """Names of the distributions that these requirements bring, with what each of them requires, as installed here."""
    found = {}
    waiting = [(text, {""}) for text in requirements]
    while waiting:
        text, extras = waiting.pop()
        requirement = Requirement(text)
        name, wanted = canonicalize_name(requirement.name), {"", *requirement.extras}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if not wanted <= found.get(name, set()):
            found[name] = found.get(name, set()) | wanted
            waiting += [(each, wanted) for each in metadata.requires(name) or []]
    return set(found)


def link(distribution, site):
    """Links the folders and files that a distribution installed into `site`."""
    for file in distribution.files:
        # Distributions share the namespace package `google`.
        part = Path(*file.parts[: 2 if file.parts[0] == "google" else 1])
        if part.parts[0] not in ("..", "__pycache__") and not (site / part).exists():
            (site / part).parent.mkdir(exist_ok=True)
            (site / part).symlink_to(distribution.locate_file(part))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the unpacked wheel and links to the distributions that it needs, and to no others."""
    folder = tmp_path_factory.mktemp("light")
    zipfile.ZipFile(wheel).extractall(folder)
    [own] = metadata.distributions(path=[str(folder)])
    for name in brought_by(own.requires):
        link(metadata.distribution(name), folder)
    return folder


@pytest.fixture
def call(site, tmp_path):
    """`call(*arguments)` runs the command in an empty folder."""

    def run(*arguments):
        script = "from blendinator.pipeline.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-S", "-c", script, *map(str, arguments)],  # -S: without Python's site-packages
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
        )

    return run


def test_nothing_of_the_pipeline_is_there(site):
    names = {path.name for path in site.iterdir()}
    assert {"tensorflow", "numpy", "galsim", "rich", "blendinator"} <= names
    assert not {"tfx", "tfx_bsl", "apache_beam", "tensorflow_transform", "jinja2", "sep", "pytest"} & names


def test_the_help_needs_nothing_of_tfx(call):
    process = call("--help")
    assert process.returncode == 0 and "segment" in process.stdout, process.stderr


def test_a_pipeline_command_says_what_to_install(call):
    process = call("run")
    assert process.returncode == 1
    assert "pip install 'blendinator[pipeline]'" in process.stderr and "Traceback" not in process.stderr


@pytest.mark.skipif(released.card() is None, reason="this checkout ships no released model")
def test_the_demo_runs_with_the_released_model(call, tmp_path):
    process = call("demo", "--output", "out")
    assert process.returncode == 0, process.stderr
    assert process.stderr == f"model: the released one, {released.card()['name']}\n"
    assert "Now yours: blendinator segment FIELD.fits" in process.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "field.fits",
        "maps.fits",
        "objects.ecsv",
        "maps.png",
    }
