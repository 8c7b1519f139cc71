"""The DAG: one for the local runner and for Kubeflow. No resolver and no custom driver, which Kubeflow does not run.

This file must not be called pipeline.py: TFX's command line runs local_runner.py with this folder first on sys.path,
where `import pipeline` would then find the file instead of the package.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

# Not through tfx.v1: it imports Google's AI platform, which takes two fifths of the time to the first component.
from tfx import components as tfx_components
from tfx.orchestration import data_types, metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2

from blendinator.components.anomaly_gate.component import AnomalyGate
from blendinator.components.atomic_pusher.component import Pusher
from blendinator.components.calibration_evaluator.component import CalibrationEvaluator
from blendinator.components.drift_gate.component import DriftGate
from blendinator.components.export_check.component import ExportCheck
from blendinator.components.live_model.component import LiveModel
from blendinator.components.scene_schema.component import SceneSchema
from blendinator.components.span_example_gen.component import SpanExampleGen
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.data.survey import bands_of
from blendinator.model import released
from blendinator.model.live import training_key
from blendinator.pipeline.beam_engine import args_on_shared_files
from blendinator.pipeline.fingerprint import code_fingerprint

# Of the simulation: the stamp size, and what the export tells about the images that it takes.
EXPORTED = ("stamp_size", "survey", "noise_scale", "psf_scale", "truth_threshold")
SCHEMA = ("schemas/scene.pbtxt",)  # which schemas/schema.py reads


def create_pipeline(
    config: Config,
    spans: str,
    fingerprint: str = "",
    live: str = "",
    enable_cache: bool = True,
    parameters: Mapping[str, data_types.RuntimeParameter] = MappingProxyType({}),
) -> Pipeline:
    """Ingest, validate, gate, normalise, train, evaluate, check the export, push.

    Args:
      config: the configuration.
      spans: the spans to ingest: "1,3-5", or "latest:3" where the caller cannot look at the data.
      fingerprint: a hash of the spans' manifests (`blendinator.pipeline.fingerprint.data_fingerprint`).
      live: number of the pushed version that the training starts from and the candidate is compared with, or "none"
        (`blendinator.model.live.find_live`); empty where the caller cannot look at the pushed versions.
      enable_cache: reuse the results of steps whose inputs, parameters and code are unchanged.
      parameters: what is known only when a run starts, for Kubeflow: any of `spans`, `data_root`, `train_args` (JSON of
        TFX's TrainArgs, whose `num_steps` overrides training.steps) and `thresholds` (JSON, overrides
        evaluation.thresholds).

    Returns:
      The pipeline, with an SQLite metadata store at `config.metadata_path`.
    """
    size, bands = config.simulation.stamp_size, len(bands_of(config.simulation.survey))
    example_gen = SpanExampleGen(
        data_root=parameters.get("data_root", str(config.data_root)),
        spans=parameters.get("spans", spans),
        stamp_size=size,
        bands=bands,
        fingerprint=fingerprint,
        code=code_fingerprint("components.span_example_gen"),
        pipeline_args=_ingestion_args(config),
    )
    statistics_gen = tfx_components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = SceneSchema(
        stamp_size=size, bands=bands, code=code_fingerprint("components.scene_schema", files=SCHEMA)
    )
    validator = tfx_components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    gate = AnomalyGate(
        examples=example_gen.outputs["examples"],
        statistics=statistics_gen.outputs["statistics"],
        anomalies=validator.outputs["anomalies"],
        schema=schema_gen.outputs["schema"],
        code=code_fingerprint("components.anomaly_gate", files=SCHEMA),
    )
    examples = gate.outputs["checked_examples"]

    custom_config = trainer_config(config, fingerprint)
    shipped = ("released/model.json",) if released.card() else ()
    live_model = LiveModel(
        serving_dir=str(config.serving_dir),
        key=training_key(custom_config),
        version=live,
        code=code_fingerprint("components.live_model", files=shipped),
    )
    drift_gate = DriftGate(
        statistics=statistics_gen.outputs["statistics"],
        live_model=live_model.outputs["model"],
        config=json.dumps(config_to_dict(config.retraining.drift)),
        code=code_fingerprint("components.drift_gate"),
    )
    drift_gate.add_upstream_node(gate)

    # Nothing is materialised: the Trainer samples fresh noise on raw electrons and applies the same graph on the fly.
    transform = tfx_components.Transform(
        examples=examples,
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="blendinator.model.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"]),
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
        custom_config={"code": code_fingerprint("model.preprocessing")},
    )
    transform.add_upstream_node(drift_gate)  # nothing is computed on data that drifted
    trainer = tfx_components.Trainer(
        run_fn="blendinator.model.trainer.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        base_model=live_model.outputs["model"] if config.retraining.warm_start.enabled else None,
        train_args=parameters.get("train_args", trainer_pb2.TrainArgs(splits=["train"])),
        eval_args=trainer_pb2.EvalArgs(splits=["calibration"]),
        custom_config=custom_config,
    )
    evaluator = CalibrationEvaluator(
        examples=examples,
        model=trainer.outputs["model"],
        baseline_model=live_model.outputs["model"],
        config=json.dumps(evaluator_config(config)),
        thresholds=parameters.get("thresholds", ""),
        code=code_fingerprint("components.calibration_evaluator"),
    )
    export_check = ExportCheck(
        examples=examples,
        model=trainer.outputs["model"],
        stamp_size=size,
        num_samples=config.evaluation.num_samples,
        seed=config.evaluation.seed,
        serving=json.dumps(config_to_dict(config.serving)),
        code=code_fingerprint("components.export_check"),
    )
    # A Pusher with both blessings rather than a condition: it leaves a record that it did not push.
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=export_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(config.serving_dir))
        ),
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.pipeline_root),
        enable_cache=enable_cache,
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            validator,
            live_model,
            gate,
            drift_gate,
            transform,
            trainer,
            evaluator,
            export_check,
            pusher,
        ],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(config.metadata_path)),
        beam_pipeline_args=list(config.beam.pipeline_args),
    )


def trainer_config(config: Config, fingerprint: str) -> dict[str, str]:
    """The Trainer's `custom_config`: all that a model comes from, for `blendinator.model.live.training_key`.

    The configuration holds what training reads and nothing else: a new threshold must not train again.
    """
    read = config_to_dict(config)
    evaluation, warm_start = read["evaluation"], read["retraining"]["warm_start"]
    part = {
        "output_dir": read["output_dir"],  # checkpoints go there
        "simulation": {key: read["simulation"][key] for key in EXPORTED},
        "model": read["model"],
        "training": read["training"],
        "evaluation": {"num_samples": evaluation["num_samples"], "seed": evaluation["seed"]},
        "retraining": {"warm_start": warm_start},
    }
    return {"config": json.dumps(part), "code": code_fingerprint("model.trainer"), "data": fingerprint}


def evaluator_config(config: Config) -> dict:
    """The part of the configuration that the evaluation reads, as `config_from_dict` takes it."""
    read = config_to_dict(config)
    return {
        "simulation": {key: read["simulation"][key] for key in ("stamp_size", "survey")},
        "model": read["model"],
        "evaluation": read["evaluation"],
    }


def _ingestion_args(config: Config) -> str:
    args = args_on_shared_files(config.beam.pipeline_args)
    return json.dumps(args) if args else ""
