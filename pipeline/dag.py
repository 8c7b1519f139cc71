"""The DAG: one for the local runner and for Kubeflow. No resolver and no custom driver, which Kubeflow does not run.

This file must not be called pipeline.py: TFX's command line runs local_runner.py with this folder first on sys.path,
where `import pipeline` would then find the file instead of the package.
"""

import dataclasses
import json
from pathlib import Path

import model  # noqa: F401  settles the Keras version before TFX imports TensorFlow

from tfx import v1 as tfx

from components.anomaly_gate.component import AnomalyGate
from components.calibration_evaluator.component import CalibrationEvaluator
from components.export_check.component import ExportCheck
from components.span_example_gen.component import SpanExampleGen
from pipeline.config import BeamConfig, Config, EvaluationConfig
from pipeline.config_loader import config_to_dict
from pipeline.fingerprint import code_fingerprint

# What a step's result depends on besides its inputs: the sources that it runs.
CONTRACT = ("pipeline/config.py", "pipeline/config_loader.py", "data/records.py")
TRAINING = tuple(f"model/{name}.py" for name in (
    "export", "input_data", "losses", "monitors", "network", "preprocessing", "probaunet", "recalibration", "sampling",
    "trainer", "training"))
SCORING = ("components/calibration_evaluator", "model/metrics", "model/classical.py", "model/gallery.py")


def create_pipeline(
    config: Config, spans: str, schema_file: str | Path, fingerprint: str = "", live: str | Path | None = None,
    enable_cache: bool = True,
) -> tfx.dsl.Pipeline:
    """Ingest, validate, gate, normalise, train, evaluate, check the export, push.

    Args:
      config: the configuration.
      spans: the spans to ingest: "1,3-5", or "latest" where the caller cannot look at the data.
      schema_file: the schema, under a name that changes with its content (`schemas.schema.write_schema`).
      fingerprint: a hash of the spans' manifests (`pipeline.fingerprint.data_fingerprint`).
      live: the pushed version that the candidate is compared with (`pipeline.live.find_live`), if there is one.
      enable_cache: reuse the results of steps whose inputs, parameters and code are unchanged.

    Returns:
      The pipeline, with an SQLite metadata store at `config.metadata_path`.
    """
    size = config.simulation.stamp_size
    example_gen = SpanExampleGen(
        data_root=str(config.data_root), spans=spans, stamp_size=size, fingerprint=fingerprint,
        code=code_fingerprint("components/span_example_gen", "data/spans.py", *CONTRACT))
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.ImportSchemaGen(schema_file=str(schema_file))
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"])
    gate = AnomalyGate(
        examples=example_gen.outputs["examples"], statistics=statistics_gen.outputs["statistics"],
        anomalies=validator.outputs["anomalies"], schema=schema_gen.outputs["schema"],
        code=code_fingerprint("components/anomaly_gate", "schemas", "data/spans.py"))
    examples = gate.outputs["checked_examples"]

    # Nothing is materialised: the Trainer draws fresh noise on raw electrons and applies the same graph on the fly.
    transform = tfx.components.Transform(
        examples=examples, schema=schema_gen.outputs["schema"],
        preprocessing_fn="model.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"]),
        materialize=False, disable_statistics=True, disable_analyzer_cache=True,
        custom_config={"code": code_fingerprint("model/preprocessing.py")})
    trainer = tfx.components.Trainer(
        run_fn="model.trainer.run_fn", examples=examples, transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"]), eval_args=tfx.proto.EvalArgs(splits=["calibration"]),
        custom_config=trainer_config(config, fingerprint))
    live_model = tfx.dsl.Importer(
        source_uri=str(live), artifact_type=tfx.types.standard_artifacts.Model).with_id("LiveModel") if live else None
    evaluator = CalibrationEvaluator(
        examples=examples, model=trainer.outputs["model"],
        baseline_model=live_model.outputs["result"] if live_model else None, config=json.dumps(config_to_dict(config)),
        code=code_fingerprint(*SCORING, *CONTRACT))
    export_check = ExportCheck(
        examples=examples, model=trainer.outputs["model"], stamp_size=size,
        num_samples=config.evaluation.num_samples, seed=config.evaluation.seed,
        code=code_fingerprint("components/export_check", *CONTRACT))
    # A plain Pusher with both blessings rather than a condition: it leaves a record that it did not push.
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"], model_blessing=evaluator.outputs["blessing"],
        infra_blessing=export_check.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(config.serving_dir))))
    return tfx.dsl.Pipeline(
        pipeline_name=config.name, pipeline_root=str(config.pipeline_root), enable_cache=enable_cache,
        components=[example_gen, statistics_gen, schema_gen, validator, gate, transform, trainer,
                    *([live_model] if live_model else []), evaluator, export_check, pusher],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(config.metadata_path)),
        beam_pipeline_args=list(config.beam.pipeline_args))


def trainer_config(config: Config, fingerprint: str) -> dict[str, str]:
    """The Trainer's `custom_config`: all that a model comes from, so that `pipeline.live.training_key` can name it.

    What training does not read is left out of the configuration: a new threshold must not train again.
    """
    evaluation = EvaluationConfig(num_samples=config.evaluation.num_samples, seed=config.evaluation.seed)
    read = dataclasses.replace(config, evaluation=evaluation, beam=BeamConfig())
    return {"config": json.dumps(config_to_dict(read)), "code": code_fingerprint(*TRAINING, *CONTRACT), "data": fingerprint}
