"""The shape of the DAG: what depends on what, and what a changed setting runs again."""

import dataclasses
import json

import pytest

from blendinator.config import (
    BeamConfig,
    Config,
    EvaluationConfig,
    RetrainingConfig,
    ServingConfig,
    SimulationConfig,
    ThresholdConfig,
    TrainingConfig,
    WarmStartConfig,
)
from blendinator.config_loader import config_from_dict
from blendinator.model.live import training_key
from blendinator.pipeline import dag


def build(config, spans="1"):
    config = dataclasses.replace(config, output_dir="/nowhere/output")
    pipeline = dag.create_pipeline(config, spans, fingerprint="abc")
    return {component.id: component for component in pipeline.components}


@pytest.fixture(scope="module")
def components():
    return build(Config())


def upstream(component):
    return {node.id for node in component.upstream_nodes}


def test_every_step_is_there_and_needs_no_driver(components):
    assert set(components) == {
        "SpanExampleGen",
        "StatisticsGen",
        "SceneSchema",
        "ExampleValidator",
        "LiveModel",
        "AnomalyGate",
        "DriftGate",
        "Transform",
        "Trainer",
        "CalibrationEvaluator",
        "ExportCheck",
        "Pusher",
    }
    from tfx.dsl.components.base import base_driver

    assert {component.driver_class for component in components.values()} == {base_driver.BaseDriver}


def test_nothing_after_the_gate_reads_unchecked_examples(components):
    for name in ("Transform", "Trainer", "CalibrationEvaluator", "ExportCheck"):
        [channel] = [channel for key, channel in components[name].inputs.items() if key == "examples"]
        assert channel.producer_component_id == "AnomalyGate"
        assert "SpanExampleGen" not in upstream(components[name])


def test_pusher_needs_both_blessings(components):
    assert upstream(components["Pusher"]) == {"Trainer", "CalibrationEvaluator", "ExportCheck"}
    assert {"model", "model_blessing", "infra_blessing"} <= set(components["Pusher"].inputs)


def test_raw_examples_reach_the_trainer_and_nothing_is_materialised(components):
    assert set(components["Transform"].outputs) == {"transform_graph"}
    assert upstream(components["Trainer"]) == {"AnomalyGate", "Transform", "SceneSchema", "LiveModel"}


def parameters(components, name):
    return dict(components[name].exec_properties)


def test_threshold_evaluates_again_and_does_not_retrain(components):
    rules = (ThresholdConfig("iou_galaxy", "boosted", min=0.1),)
    other = build(dataclasses.replace(Config(), evaluation=EvaluationConfig(thresholds=rules)))
    assert parameters(other, "Trainer") == parameters(components, "Trainer")
    assert parameters(other, "CalibrationEvaluator") != parameters(components, "CalibrationEvaluator")


@pytest.mark.parametrize(
    "change",
    [
        {"training": TrainingConfig(steps=5)},
        {"evaluation": EvaluationConfig(num_samples=4)},
        {"retraining": RetrainingConfig(warm_start=WarmStartConfig(steps_share=0.25))},
    ],
)
def test_what_training_reads_retrains(components, change):
    assert parameters(build(dataclasses.replace(Config(), **change)), "Trainer") != parameters(components, "Trainer")


@pytest.mark.parametrize(
    "change",
    [
        {"beam": BeamConfig(simulation_workers=3)},
        {"simulation": SimulationConfig(test_scenes=7)},
        {"retraining": RetrainingConfig(on_failure="mail")},
    ],
)
def test_what_training_does_not_read_runs_nothing_again(components, change):
    other = build(dataclasses.replace(Config(), **change))
    assert {name for name in components if parameters(other, name) != parameters(components, name)} == set()


def test_another_check_of_the_export_runs_that_step_alone(components):
    other = build(dataclasses.replace(Config(), serving=ServingConfig(infra_check="triton")))
    assert {name for name in components if parameters(other, name) != parameters(components, name)} == {"ExportCheck"}


def test_edited_code_runs_its_steps_again(components, monkeypatch):
    monkeypatch.setattr(dag, "code_fingerprint", lambda *modules, files=(): "edited")
    edited = build(Config())
    changed = {name for name in components if parameters(edited, name) != parameters(components, name)}
    assert changed == {
        "SpanExampleGen",
        "SceneSchema",
        "LiveModel",
        "AnomalyGate",
        "DriftGate",
        "Transform",
        "Trainer",
        "CalibrationEvaluator",
        "ExportCheck",
    }


def test_trainer_gets_the_configuration_and_the_code(components):
    custom = json.loads(parameters(components, "Trainer")["custom_config"])
    assert json.loads(custom["config"])["training"]["steps"] == TrainingConfig().steps
    assert len(custom["code"]) == 16


def test_beam_arguments_reach_the_pipeline():
    config = dataclasses.replace(Config(), beam=BeamConfig(pipeline_args=("--direct_num_workers=2",)))
    assert dag.create_pipeline(config, "1").beam_pipeline_args == ["--direct_num_workers=2"]


def test_the_live_model_is_where_training_starts_and_what_the_candidate_is_compared_with(components):
    assert "LiveModel" in upstream(components["Trainer"])
    assert "LiveModel" in upstream(components["CalibrationEvaluator"])
    assert "LiveModel" not in upstream(components["Pusher"])
    custom = json.loads(parameters(components, "Trainer")["custom_config"])
    live = parameters(components, "LiveModel")
    assert live["key"] == training_key(custom) and live["version"] == ""
    assert live["serving_dir"] == "/nowhere/output/serving/blendinator"


def test_without_warm_start_a_new_live_model_does_not_train_again():
    retraining = RetrainingConfig(warm_start=WarmStartConfig(enabled=False))
    components = build(dataclasses.replace(Config(), retraining=retraining))
    assert "LiveModel" not in upstream(components["Trainer"])
    assert "LiveModel" in upstream(components["CalibrationEvaluator"])


def test_the_parts_of_the_configuration_are_configurations():
    config = config_from_dict(json.loads(dag.trainer_config(Config(), "")["config"]))
    assert (config.model, config.training) == (Config().model, Config().training)
    assert config_from_dict(dag.evaluator_config(Config())).evaluation == Config().evaluation


def test_a_run_on_kubeflow_is_given_its_values_when_it_starts():
    from tfx import v1 as tfx

    names = ("spans", "data_root", "train_args", "thresholds")
    given = {name: tfx.dsl.experimental.RuntimeParameter(name=name, ptype=str, default="") for name in names}
    pipeline = dag.create_pipeline(Config(output_dir="/nowhere"), "latest", parameters=given)
    components = {component.id: component for component in pipeline.components}
    assert parameters(components, "SpanExampleGen")["spans"] is given["spans"]
    assert parameters(components, "SpanExampleGen")["data_root"] is given["data_root"]
    assert parameters(components, "Trainer")["train_args"] is given["train_args"]
    assert parameters(components, "CalibrationEvaluator")["thresholds"] is given["thresholds"]


def test_nothing_is_computed_on_data_that_drifted_or_are_damaged(components):
    assert {"DriftGate", "AnomalyGate"} <= upstream(components["Transform"])
    assert upstream(components["DriftGate"]) == {"StatisticsGen", "LiveModel", "AnomalyGate"}
