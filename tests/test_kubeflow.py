"""The pipeline on Kubeflow without a cluster: the compiled file, executed task by task, against a local run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

LOCAL = "single/volume"  # the local run's output_dir, which later stands for the volume of the single pod
BLENDINATOR = Path(sys.executable).with_name("blendinator")
TINY = {
    "simulation": {
        "stamp_size": 32,
        "train_scenes": 120,
        "calibration_scenes": 60,
        "test_scenes": 60,
        "scenes_per_shard": 60,
    },
    "model": {"channels": [8, 16], "convs_per_block": 1, "head_channels": 8, "head_layers": 1},
    "training": {"steps": 60, "batch_size": 16, "evaluate_every": 30},
    "evaluation": {
        "num_samples": 4,
        "gallery_scenes": 2,
        "min_scenes": 10,
        "bootstrap_replicates": 20,
        "classical": {"enabled": False},
        "thresholds": [{"metric": "ece_near_sources", "max": 0.9}],
    },
}


def start(*arguments, folder):
    return subprocess.Popen(
        [BLENDINATOR, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def finish(process):
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    return output


def call(*arguments, folder):
    return finish(start(*arguments, folder=folder))


def pushed(serving: Path) -> Path:
    [version] = [path for path in serving.glob("*") if path.name.isdigit()]
    return version


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A local run, and beside it the same pipeline compiled for Kubeflow and executed on the same data."""
    folder = tmp_path_factory.mktemp("kubeflow")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "output_dir": str(folder / LOCAL)}))
    call("simulate", "--config", "tiny.yaml", folder=folder)
    local = start("run", "--config", "tiny.yaml", folder=folder)
    call(
        "kubeflow",
        "compile",
        "--config",
        "tiny.yaml",
        "--image",
        "registry.example.org/blendinator:1",
        "--pipeline-root",
        "minio://mlpipeline/v2/artifacts",
        "--output",
        "pipeline.yaml",
        folder=folder,
    )
    output = call(
        "kubeflow",
        "try",
        "pipeline.yaml",
        "--output",
        "try",
        "--parameter",
        f"data_root={folder / LOCAL / 'data'}",
        folder=folder,
    )
    (folder / "try.txt").write_text(output)
    finish(local)
    return folder


def test_every_task_ran(folder):
    spec = next(yaml.safe_load_all((folder / "pipeline.yaml").read_text()))
    lines = (folder / "try.txt").read_text().splitlines()
    assert {line.removesuffix(": done") for line in lines if line.endswith(": done")} == set(
        spec["root"]["dag"]["tasks"]
    )
    assert lines[-1] == str(folder / "try")


def test_the_model_pushed_on_kubeflow_is_the_local_one(folder):
    import tensorflow as tf

    here = tf.saved_model.load(str(pushed(folder / LOCAL / "serving" / "blendinator")))
    there = tf.saved_model.load(str(pushed(folder / "try" / "volume" / "serving" / "blendinator")))
    images = tf.constant(np.random.default_rng(0).normal(0, 50, (4, 32, 32)).astype(np.float32))
    draw = lambda loaded: loaded.signatures["sample"](
        image=images, num_samples=tf.constant(8), seed=tf.constant([1, 2])
    )
    for name, value in draw(here).items():
        np.testing.assert_array_equal(draw(there)[name], value)


def test_the_metrics_are_the_local_ones(folder):
    [here] = (folder / LOCAL / "pipeline").glob("CalibrationEvaluator/evaluation/*/metrics.json")
    [there] = (folder / "try" / "store").rglob("metrics.json")
    assert json.loads(there.read_text())["populations"] == json.loads(here.read_text())["populations"]


def test_nothing_but_the_volume_and_the_object_store_was_shared(folder):
    assert {path.name for path in (folder / "try").iterdir()} == {"logs", "pods", "store", "volume"}
    assert os.listdir(folder / "try" / "store") == ["minio"]


def test_single_pod_runs_the_local_runner_on_the_volume(folder):
    """On the local run's output, where there is nothing to do."""
    call(
        "kubeflow",
        "compile",
        "--single-pod",
        "--config",
        "tiny.yaml",
        "--image",
        "i:1",
        "--pipeline-root",
        "gs://bucket",
        "--output",
        "single-pod.yaml",
        folder=folder,
    )
    assert "Trainer: done" in call("kubeflow", "try", "single-pod.yaml", "--output", "single", folder=folder)
    log = (folder / "single" / "logs" / "Trainer.log").read_text()
    assert "Nothing to do" in log, log
