"""Settles the Keras version (see `blendinator/__init__.py`) and Beam's runner before any test; the nightly tests.

`span_maker` writes spans of a few small scenes, clean or damaged, without the simulator; `wheel` and `installed` are
the package as users get it.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import blendinator  # noqa: F401
from blendinator.data import records, spans
from blendinator.data.tfrecords import frame_record
from blendinator.files import sha256
from blendinator.stack import use_in_memory_runner

ROOT = Path(__file__).resolve().parent.parent

# The same cases every time, so that `make test` fails only where something changed; the nightly ones are new each time.
hypothesis.settings.register_profile("quick", max_examples=200, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="the faults and fuzzing at full length: `make nightly`")


def pytest_configure(config):
    use_in_memory_runner()
    hypothesis.settings.load_profile("nightly" if config.getoption("--nightly") else "quick")
    config.addinivalue_line("markers", "nightly: too long for `make test`; run by `make nightly`")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--nightly"):
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="only in `make nightly`"))


SIZE = 8


class SpanMaker:
    """Writes spans below a folder; `records` per split can be replaced to plant damage."""

    def __init__(self, data_root: Path):
        self.data_root = data_root

    def scene(self, number: int, **changes) -> dict:
        values = {
            "image": np.random.default_rng(number).normal(0, 20, (SIZE, SIZE, 1)).astype(np.float32),
            "noise_free": np.zeros((SIZE, SIZE, 1), np.float32),
            "mask": np.zeros((SIZE, SIZE), np.int64),
            "scene_id": f"1:{number}",
            "population": "boosted",
            "num_galaxies": 0,
            "min_separation": -1.0,
            "brightest_magnitude": 99.0,
            "magnitude_difference": -1.0,
            "snr": 0.0,
            "blended_share": 0.0,
            "sky_sigma": 26.3,
            "psf_fwhm": 0.17,
            "noise_correlation": 0.5,
            "num_stars": 1,
            "brightest_star": 21.5,
        }
        return {**values, **changes}

    def write(self, span: int = 1, **splits) -> Path:
        """Writes a span of two files per split; `train=[...]` replaces the serialized records of a split."""
        folder = spans.span_dir(self.data_root, span)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"format_version": spans.FORMAT_VERSION, "complete": True, "files": {}, "splits": {}, "span": span}
        for start, split in enumerate(spans.SPLITS):
            serialized = splits.get(split) or [records.encode(self.scene(10 * start + i)) for i in range(4)]
            manifest["splits"][split] = {"records": len(serialized)}
            for i in range(2):
                path = folder / spans.shard_name(split, i, 2)
                part = serialized[i::2]
                with gzip.open(path, "wb") as file:
                    file.write(b"".join(map(frame_record, part)))
                manifest["files"][path.name] = {
                    "split": split,
                    "records": len(part),
                    "bytes": path.stat().st_size,
                    "sha256": sha256(path),
                }
        (folder / spans.MANIFEST).write_text(json.dumps(manifest))
        return folder


@pytest.fixture
def span_maker(tmp_path) -> SpanMaker:
    return SpanMaker(tmp_path / "data")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The package's wheel, built from a copy of the sources: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("blendinator", "components", "data", "model", "pipeline", "schemas"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """`installed(*arguments)` runs Python with the installed wheel, in a folder with files named like its parts."""
    site, home = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("home")
    zipfile.ZipFile(wheel).extractall(site)  # what an installer does with a wheel of pure Python
    for name in ("model.py", "pipeline.py", "data/__init__.py", "components/__init__.py", "schemas/__init__.py"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("raise ImportError('this file is the user\\'s own')\n")

    def run(*arguments) -> str:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.site, run.home = site, home
    return run
