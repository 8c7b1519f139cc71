"""One project on both stacks: spans, models, metadata. `make test-current` makes the folder that this needs.

The installed stack simulates, trains and pushes; the one in the Debian 13 folder reads all of it, retrains from the
live model and pushes; and the first one reads that. Nothing of it is for science.
"""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from blendinator.data.spans import span_dir

ROOT = Path(__file__).resolve().parents[1]
TRIXIE = ["sh", str(ROOT / "scripts" / "trixie.sh")]
SETTINGS = {
    "simulation": {
        "stamp_size": 32,
        "train_scenes": 60,
        "calibration_scenes": 20,
        "test_scenes": 20,
        "scenes_per_shard": 20,
    },
    "model": {"channels": [8, 16], "convs_per_block": 1, "head_channels": 4, "head_layers": 1, "latent_dim": 2},
    "training": {"steps": 20, "batch_size": 8, "evaluate_every": 10, "evaluation_scenes": 8, "multi_sample_draws": 2},
    "evaluation": {
        "num_samples": 2,
        "bootstrap_replicates": 10,
        "gallery_scenes": 1,
        "min_scenes": 1,
        "classical": {"enabled": False},
        "thresholds": [{"metric": "iou_galaxy", "population": "boosted", "min": 0.0}],
        "relative": [{"metric": "ged", "population": "boosted", "margin": 1e6}],
    },
    # So few scenes differ a lot from span to span.
    "retraining": {"drift": {"action": "warn"}, "warm_start": {"max_sigma_change": 1.0}},
}
TOLERANCE = 1e-5  # float32 of other libraries; 2.4e-7 when this was written
DRAW = """
import sys
import numpy as np
import blendinator
import tensorflow as tf
_, version, output = sys.argv
images = tf.constant(np.random.default_rng(0).normal(20, 60, (8, 32, 32)).astype(np.float32))
signatures = tf.saved_model.load(version).signatures
draws = signatures["sample"](image=images, num_samples=tf.constant(16), seed=tf.constant([1, 2]))
maps = signatures["serving_default"](image=images)
np.savez(output, **draws, **{f"serving_{name}": value for name, value in maps.items()})
"""

pytestmark = pytest.mark.skipif(
    subprocess.run([*TRIXIE, "ready"], capture_output=True).returncode != 0,
    reason="there is no Debian 13 folder with this project's environment: `make test-current` makes it",
)


def call(command, folder):
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


class Stack:
    """Runs the environment's programs: of this interpreter, or of the one in the Debian 13 folder."""

    def __init__(self, name, prefix, folder):
        self.name, self.prefix, self.folder = name, prefix, folder

    def python(self, *arguments):
        return call([*self.prefix, "python", *arguments], ROOT)

    def blendinator(self, *arguments, config="config.yaml"):
        command, *rest = arguments
        return call([*self.prefix, "blendinator", command, "--config", self.folder / config, *rest], ROOT)

    def draw(self, version):
        output = self.folder / f"{self.name}-{version.name}.npz"
        self.python("-c", DRAW, version, output)
        return np.load(output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks")
    for name in ("config", "again"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**SETTINGS, "output_dir": str(folder / name)}))
    return folder


@pytest.fixture(scope="module")
def here(folder):
    # `env` finds the program in this environment; what it starts must not find another one's.
    return Stack("here", ["env", f"PATH={Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"], folder)


@pytest.fixture(scope="module")
def there(folder):
    return Stack("there", [*TRIXIE, "exec", "--share", folder, "env", f"PATH={ROOT}/.venv/bin:/usr/bin:/bin"], folder)


def versions(folder):
    return sorted(path for path in (folder / "config" / "serving" / "blendinator").iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def pushed(folder, here, there):
    """Version 1 of this stack and version 2 of the other one, which started from it."""
    here.blendinator("run")
    first = versions(folder)
    there.blendinator("retrain")
    return [*first, *(version for version in versions(folder) if version not in first)]


def records(folder):
    return {path.name: gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.tfrecord.gz"))}


def test_both_stacks_are_there(here, there):
    names = {
        stack.python("-c", "from blendinator.stack import stack_name; print(stack_name())").strip()
        for stack in (here, there)
    }
    assert names == {"compatible", "current"}


def test_both_simulate_the_same_bytes(folder, pushed, there):
    there.blendinator("simulate", config="again.yaml")
    expected = records(span_dir(folder / "config" / "data", 1))
    assert expected and records(span_dir(folder / "again" / "data", 1)) == expected


@pytest.mark.parametrize("number", [0, 1], ids=["pushed here", "pushed there"])
def test_a_version_draws_the_same_on_both(pushed, here, there, number):
    mine, other = here.draw(pushed[number]), there.draw(pushed[number])
    assert set(mine) == set(other)
    for name in mine:
        if mine[name].dtype.kind == "f":
            np.testing.assert_allclose(other[name], mine[name], atol=TOLERANCE, err_msg=name)
        else:  # a pixel at the border of two classes may fall on the other side
            assert (mine[name] != other[name]).mean() < 1e-3, name


def test_the_history_is_kept(pushed, here, there):
    assert len(pushed) == 2
    found = {stack.name: json.loads(stack.blendinator("models", "--json")) for stack in (here, there)}
    assert found["here"] == found["there"]
    assert {one["version"]: one["spans"] for one in found["here"]} == {pushed[0].name: [1], pushed[1].name: [2]}
    made = json.loads(there.blendinator("lineage", pushed[1].name, "--json"))
    assert (made["start"]["kind"], made["start"]["version"]) == ("warm", pushed[0].name)
