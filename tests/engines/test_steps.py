"""The pipeline's Beam steps on each engine: the same counts, transform and metrics as in process.

Nothing may depend on the process that started the job: code is pickled or imported, and all data go through files.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow_transform as tft
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.types import artifact_utils

from blendinator.config_loader import config_from_dict
from blendinator.data.simulate import simulate_span
from blendinator.model.export import export
from blendinator.model.preprocessing import NORMALISED
from blendinator.model.probaunet import ProbaUNet
from blendinator.pipeline.dag import create_pipeline

SCENES = {"train_scenes": 30, "calibration_scenes": 6, "test_scenes": 24}
RAW = {
    "simulation": {**SCENES, "stamp_size": 32, "scenes_per_shard": 8},
    "model": {"channels": [4, 8], "convs_per_block": 1, "head_channels": 4, "head_layers": 1},
    "evaluation": {
        "num_samples": 4,
        "min_scenes": 2,
        "bootstrap_replicates": 20,
        "gallery_scenes": 2,
        "classical": {"enabled": False},
        "thresholds": [{"metric": "iou_galaxy", "min": 0.0}],
    },
}
BEFORE_TRAINING = ("SpanExampleGen", "StatisticsGen", "SceneSchema", "ExampleValidator", "AnomalyGate", "Transform")


class Steps:
    """Runs single components of the pipeline, with their parameters and inputs, and keeps their artifacts."""

    def __init__(self, config, folder: Path):
        self.components = {component.id: component for component in create_pipeline(config, "1").components}
        self.folder, self.beam_args, self.artifacts = folder, list(config.beam.pipeline_args), {}

    def run(self, name: str, **replaced) -> dict:
        component = self.components[name]
        inputs = {
            key: replaced.get(key) or [self.artifacts[channel.producer_component_id][channel.output_key]]
            for key, channel in component.inputs.items()
        }
        outputs = {}
        for key, channel in component.outputs.items():
            outputs[key] = channel.type()
            outputs[key].uri = str(self.folder / name / key)
            os.makedirs(outputs[key].uri)
        cls, scratch = component.executor_spec.executor_class, str(self.folder / name / "tmp")
        if issubclass(cls, base_beam_executor.BaseBeamExecutor):
            context = cls.Context(beam_pipeline_args=self.beam_args, tmp_dir=scratch, unique_id="1")
        else:
            context = base_executor.BaseExecutor.Context(tmp_dir=scratch, unique_id="1")
        cls(context).Do(inputs, {key: [artifact] for key, artifact in outputs.items()}, dict(component.exec_properties))
        self.artifacts[name] = outputs
        return outputs


@pytest.fixture(scope="module")
def both(tmp_path_factory, beam_args):
    """The steps in process and on an engine, and the model that both evaluate."""
    folder = tmp_path_factory.mktemp("portable")
    raw = {**RAW, "output_dir": str(folder)}
    config, elsewhere = (config_from_dict({**raw, "beam": {"pipeline_args": args}}) for args in ([], beam_args))
    simulate_span(config.simulation, config.data_root, 1, workers=1)
    here, there = Steps(config, folder / "here"), Steps(elsewhere, folder / "there")
    for steps in (here, there):
        for name in BEFORE_TRAINING:
            steps.run(name)
    trained = here.components["Trainer"].outputs["model"].type()
    trained.uri = str(folder / "model")
    transform = tft.TFTransformOutput(here.artifacts["Transform"]["transform_graph"].uri)
    export(
        ProbaUNet(config.model, 1, "float32"),
        transform,
        f"{trained.uri}/Format-Serving",
        default_draws=4,
        default_seed=1,
        stamp_size=32,
        facts={},
    )
    for steps in (here, there):
        steps.run("LiveModel")
        steps.run("CalibrationEvaluator", model=[trained])
    return here, there


def test_the_ingested_spans_are_the_same_bytes(both, digests):
    sent = [bool(steps.components["SpanExampleGen"].exec_properties["pipeline_args"]) for steps in both]
    assert sent == [False, True]  # this step is given the engine by a parameter, not by TFX
    here, there = (steps.artifacts["SpanExampleGen"]["examples"] for steps in both)
    assert here.get_string_custom_property("records") == there.get_string_custom_property("records")
    for split in ("train", "calibration", "test"):
        found = [digests(Path(examples.uri) / f"Split-{split}") for examples in (here, there)]
        assert found[0] == found[1] and found[0]


@pytest.mark.parametrize("split", ["train", "calibration", "test"])
def test_no_record_is_lost_on_the_way_to_the_statistics(both, split):
    found = [
        stats_artifact_utils.load_statistics(steps.artifacts["StatisticsGen"]["statistics"], split).proto().datasets[0]
        for steps in both
    ]
    assert found[0].num_examples == found[1].num_examples == SCENES[f"{split}_scenes"]
    means = [
        {feature.path.step[0]: feature.num_stats.mean for feature in data.features if feature.HasField("num_stats")}
        for data in found
    ]
    assert means[0].keys() == means[1].keys() and len(means[0]) > 5
    assert all(means[1][name] == pytest.approx(value, rel=1e-6) for name, value in means[0].items())


def test_the_transform_is_the_same(both):
    image = np.random.default_rng(0).normal(0, 30, (2, 32, 32, 1)).astype(np.float32)
    graphs = [tft.TFTransformOutput(steps.artifacts["Transform"]["transform_graph"].uri) for steps in both]
    values = [
        graph.transform_raw_features({"image": image}, drop_unused_features=True)[NORMALISED].numpy()
        for graph in graphs
    ]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-6)


def test_the_metrics_are_the_same(both):
    reports = [
        json.loads(
            (
                Path(artifact_utils.get_single_uri([steps.artifacts["CalibrationEvaluator"]["evaluation"]]))
                / "metrics.json"
            ).read_text()
        )
        for steps in both
    ]
    assert reports[0]["records_read"] == reports[1]["records_read"]
    assert reports[0]["scenes_evaluated"] == reports[1]["scenes_evaluated"] == SCENES["test_scenes"]
    assert reports[0]["populations"] == reports[1]["populations"]
    assert reports[0]["thresholds"] == reports[1]["thresholds"]
