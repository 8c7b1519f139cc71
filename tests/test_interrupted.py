"""A run that is killed in any of its steps, and started again, ends as one that was not.

Each kill is a SIGKILL at the worst moment: the step has done its work and has not recorded it. One output folder is
killed in step after step, which the cache makes cheap, and compared with one that was left alone. The processes are
forked from one that has imported everything and computed nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import explain, lineage, metadata, run_log
from pipeline.config_loader import load_config
from pipeline.live import list_versions
from pipeline.lock import exclusive

ROOT = Path(__file__).resolve().parents[1]
# Too small for a model of any use: what is tested is what happens around it.
SETTINGS = {
    "simulation": {"stamp_size": 32, "train_scenes": 40, "calibration_scenes": 10, "test_scenes": 10,
                   "scenes_per_shard": 20},
    "model": {"channels": [4, 8], "convs_per_block": 1, "head_channels": 4, "head_layers": 1, "latent_dim": 2},
    "training": {"steps": 4, "batch_size": 8, "evaluate_every": 2, "evaluation_scenes": 4, "multi_sample_draws": 2},
    "retraining": {"simulate": False},  # the first span is simulated all the same
    "evaluation": {"num_samples": 2, "bootstrap_replicates": 10, "gallery_scenes": 1, "min_scenes": 1,
                   "classical": {"enabled": False},
                   "thresholds": [{"metric": "iou_galaxy", "population": "boosted", "min": 0.0}]},
}
STEPS = ("LiveModel", "SceneSchema", "SpanExampleGen", "StatisticsGen", "ExampleValidator", "AnomalyGate", "DriftGate",
         "Transform", "Trainer", "CalibrationEvaluator", "ExportCheck", "Pusher")
# Arguments: JSON of pairs (configuration file, step to be killed in or ""). Prints the wait status of each.
FORKS = """
import json, os, signal, sys
import model
import pipeline.dag, pipeline.report, pipeline.run, model.trainer
from tfx.orchestration.portable import launcher
from pipeline import cli
import data.simulate

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def patch(step):
    run_executor, simulate_span = launcher.Launcher._run_executor, data.simulate.simulate_span
    def killed(self, info):
        output = run_executor(self, info)
        if info.pipeline_node.node_info.id == step:
            kill()
        return output
    launcher.Launcher._run_executor = killed
    if step == "simulation":
        data.simulate.simulate_span = lambda *args, progress, **more: simulate_span(
            *args, progress=lambda done, total: done and kill(), **more)

for config, step in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        patch(step)
        try:
            cli.main(["retrain", "--config", config])
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
        os._exit(9)
    print("STATUS", step, os.waitpid(child, 0)[1], flush=True)
"""


def write(folder: Path) -> Path:
    path = folder / "config.yaml"
    folder.mkdir()
    path.write_text(yaml.safe_dump({**SETTINGS, "output_dir": str(folder / "output")}))
    return path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Configurations of an undisturbed and a disturbed folder, and what the processes printed."""
    root = tmp_path_factory.mktemp("interrupted")
    calm, disturbed = write(root / "calm"), write(root / "disturbed")
    calls = [(str(calm), ""), *((str(disturbed), step) for step in ("simulation", *STEPS, "", ""))]
    process = subprocess.run([sys.executable, "-c", FORKS, json.dumps(calls)], capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stdout + process.stderr
    return load_config(calm), load_config(disturbed), process.stdout


def test_every_step_was_killed_and_the_rest_went_through(outcome):
    *_, output = outcome
    statuses = [line.split() for line in output.splitlines() if line.startswith("STATUS")]
    killed = [line[1] for line in statuses if line[-1] == "9"]
    assert killed == ["simulation", *STEPS], output
    # The runs without a step to be killed in.
    assert [line[-1] for line in statuses if len(line) == 2] == ["0", "0", "0"], output


def test_the_same_final_state(outcome):
    calm, disturbed, _ = outcome
    for config in (calm, disturbed):
        assert len(list_versions(config.serving_dir)) == 1  # pushed once, although the push itself was killed
        assert not list(config.serving_dir.glob(".incoming*"))
        assert [path.name for path in config.data_root.glob("span-*")] == ["span-0001"]
        assert list((Path(config.output_dir) / "checkpoints").iterdir()) == []
    ours, theirs = explain.explain(disturbed), explain.explain(calm)
    assert ours["pushed"] and theirs["pushed"]
    assert {step["name"] for step in ours["steps"]} == {step["name"] for step in theirs["steps"]} == set(STEPS)
    assert {step["state"] for step in ours["steps"]} <= {"COMPLETE", "CACHED"}
    assert ours["metrics"] == theirs["metrics"] and ours["artifacts"].keys() == theirs["artifacts"].keys()


def test_nothing_is_left_running_or_locked(outcome):
    _, disturbed, _ = outcome
    assert metadata.close_interrupted(disturbed.metadata_path) == []
    with exclusive(disturbed.output_dir, "test"):
        pass


def test_the_push_that_was_killed_is_recorded(outcome):
    _, disturbed, _ = outcome
    [version] = list_versions(disturbed.serving_dir)
    found = lineage.lineage(disturbed, version.name)
    assert found["spans"] == [1] and found["path"] == str(version)


def test_the_log_has_one_completed_run_and_an_idle_one(outcome):
    _, disturbed, _ = outcome
    assert [entry["status"] for entry in run_log.read(disturbed.output_dir)] == ["pushed", "nothing"]
