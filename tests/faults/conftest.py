"""Command lines in forked processes, with faults; and the smallest configuration that a whole retraining runs on."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from blendinator.config import Config
from blendinator.config_loader import load_config

ROOT = Path(__file__).resolve().parents[2]
# Too small for a model of any use, and every model is pushed: what is tested is what happens around it.
SETTINGS = {
    "simulation": {
        "stamp_size": 32,
        "train_scenes": 40,
        "calibration_scenes": 10,
        "test_scenes": 10,
        "scenes_per_shard": 20,
    },
    "model": {"channels": [4, 8], "convs_per_block": 1, "head_channels": 4, "head_layers": 1, "latent_dim": 2},
    "training": {"steps": 2, "batch_size": 8, "evaluate_every": 2, "evaluation_scenes": 4, "multi_sample_share": 0.0},
    "retraining": {
        "drift": {"action": "off"},
        "warm_start": {"multi_sample_share": 0.0},
        "keep_versions": 3,
        "keep_runs": 2,
        "keep_spans": 3,
        "keep_logs": 5,
    },
    "evaluation": {
        "num_samples": 2,
        "bootstrap_replicates": 10,
        "gallery_scenes": 1,
        "min_scenes": 1,
        "classical": {"enabled": False},
        "relative": [],
        "thresholds": [{"metric": "iou_galaxy", "population": "boosted", "min": 0.0}],
    },
}
STEPS = (
    "simulation",
    "LiveModel",
    "SceneSchema",
    "SpanExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "DriftGate",
    "Transform",
    "Trainer",
    "CalibrationEvaluator",
    "ExportCheck",
    "Pusher",
)
# Mounts of tests vanish with the process. Root needs no user namespace; others may not be allowed one.
NAMESPACES = (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"])


class Forks:
    """`forks.py` as a process: `ask(arguments, **fault)` returns its answer."""

    def __init__(self, prefix=()):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(Path(__file__).with_name("forks.py"))],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def ask(self, *arguments, **fault) -> dict:
        self.process.stdin.write(json.dumps({"arguments": arguments, **fault}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()  # its orderly end takes ten seconds
        self.process.communicate()


@pytest.fixture(scope="session")
def forks():
    """Command lines in the machine's own file systems."""
    server = Forks()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mounting():
    """The beginning of a command that may mount file systems; without such a right the test is skipped."""
    for prefix in NAMESPACES:
        if (
            shutil.which("unshare")
            and not subprocess.run(
                [*prefix, "mount", "-t", "tmpfs", "-o", "size=1M", "none", "/mnt"], capture_output=True
            ).returncode
        ):
            return prefix
    pytest.skip("needs the right to mount a file system (root, or user namespaces)")


def configured(folder: Path, output: Path | None = None, settings: dict | None = None) -> tuple[str, Config]:
    """A configuration file in `folder`, by default with its output there, and what it says; `settings` are sections in
    place of those of SETTINGS."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, **(settings or {}), "output_dir": str((output or folder) / "output")}))
    return str(path), load_config(path)


@pytest.fixture(scope="session")
def small_disk(mounting, tmp_path_factory):
    """Command lines in processes that see a disk of 100 MB: the server, the disk's path there, and its path here."""
    disk = tmp_path_factory.mktemp("disk")
    server = Forks([*mounting, "sh", "-c", f'mount -t tmpfs -o size=100M none "{disk}" && exec "$@"', "sh"])
    yield server, disk, Path(f"/proc/{server.process.pid}/root{disk}")
    server.close()


@pytest.fixture(scope="session")
def configure():
    return configured


@pytest.fixture(scope="session")
def steps():
    """The simulation and the components, in the order of a run."""
    return STEPS


@pytest.fixture(scope="session")
def rng(request):
    """Random numbers: the same ones in `make test`, new ones every night."""
    seed = random.SystemRandom().randrange(10**6) if request.config.getoption("--nightly") else 1
    print(f"seed {seed}")
    return random.Random(seed)
