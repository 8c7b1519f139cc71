"""The executor: reads the artifacts, runs the Beam job, writes metrics, picture and blessing."""

import json
import os
from typing import Any

import apache_beam as beam
import numpy as np
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from blendinator.components.artifacts import Artifacts
from blendinator.components.calibration_evaluator import scoring
from blendinator.config import Config
from blendinator.config_loader import config_from_dict
from blendinator.data import records
from blendinator.data.survey import bands_of
from blendinator.data.tfrecords import read_records
from blendinator.errors import ConfigError, DataError
from blendinator.model import gallery
from blendinator.model.live import holds_no_model, live_version
from blendinator.model.metrics import evaluation, rules, scenes

FORMAT_VERSION = 1
EXTREMES_SHOWN = 3  # scenes on each of the pages of best, typical and worst ones
SPLIT = "test"
METRICS, PICTURE, ACCOUNT = "metrics.json", "examples.png", "account.json"
SCENES = {scoring.CANDIDATE: "scenes.npz", scoring.LIVE: "scenes-live.npz", scoring.CLASSICAL: "scenes-classical.npz"}


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `CalibrationEvaluator`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Evaluates the model in `model`; see `CalibrationEvaluator` for the inputs, outputs and parameters.

        Raises:
          ConfigError: the thresholds given for this run cannot be read.
          DataError: the split is missing or empty, a record is damaged, or records were lost.
          ModelError: an exported model can't be loaded or lacks the signature `sample`.
        """
        config = read_config(exec_properties["config"], exec_properties.get("thresholds") or "")
        model = artifact_utils.get_single_instance(input_dict["model"])
        models = {scoring.CANDIDATE: saved_model_path(model.uri)}
        given = input_dict.get("baseline_model")
        live = artifact_utils.get_single_instance(given) if given else None
        if live and not is_empty(live):
            models[scoring.LIVE] = saved_model_path(live.uri)
        files = list_files(input_dict["examples"])
        folder = artifact_utils.get_single_uri(output_dict["evaluation"])
        fileio.makedirs(folder)

        size, bands = config.simulation.stamp_size, bands_of(config.simulation.survey)
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Files" >> beam.Create(files)
                | "Spread" >> beam.Reshuffle()
                | "Score" >> beam.ParDo(scoring.ScoreFile(models, config.evaluation, size, len(bands)))
                | "Collect" >> beam.CombineGlobally(scoring.Collect())
                | "WriteScenes" >> beam.Map(write_scenes, folder=folder)
            )
        account = json.loads(io_utils.read_string_file(os.path.join(folder, ACCOUNT)))
        rows = {label: read_scenes(folder, label) for label in account["methods"]}
        names = rows[scoring.CANDIDATE]["scene_id"] if rows else np.array([], dtype=str)
        scoring.check_account(names, account["records"], account["errors"], files)

        report = make_report(rows, config) | {"records_read": account["records"], "models": models}
        report["live_version"] = live_version(live.uri) if live else None
        io_utils.write_string_file(os.path.join(folder, METRICS), json.dumps(report, indent=1, allow_nan=False))
        pages = {PICTURE: gallery.choose_scenes(rows[scoring.CANDIDATE], config.evaluation.gallery_scenes)}
        for name, chosen in gallery.extreme_scenes(rows[scoring.CANDIDATE], EXTREMES_SHOWN).items():
            pages[f"scenes-{name}.png"] = chosen
        write_pages(files, models[scoring.CANDIDATE], pages, config, folder)
        bless(artifact_utils.get_single_instance(output_dict["blessing"]), model, report["blessed"])


def read_config(text: str, thresholds: str) -> Config:
    """The configuration, with the rules that were given for this run in place of its own.

    Args:
      text: JSON of the configuration.
      thresholds: JSON of a list of rules; none if empty.
    """
    raw = json.loads(text)
    if thresholds:
        try:
            raw.setdefault("evaluation", {})["thresholds"] = json.loads(thresholds)
        except ValueError as error:
            raise ConfigError(
                f"thresholds: received {thresholds[:80]!r}, which is not JSON ({error}); allowed: a list of rules "
                'such as [{"metric": "iou_galaxy", "min": 0.8}]'
            )
    config = config_from_dict(raw, source="CalibrationEvaluator")
    rules.check_names(config.evaluation, "CalibrationEvaluator")
    return config


def is_empty(live: types.Artifact) -> bool:
    """Whether a `LiveModel` that found none made this; its property says so where the file is out of reach."""
    return (live.has_custom_property("live") and not live.get_int_custom_property("live")) or holds_no_model(live.uri)


def saved_model_path(uri: str) -> str:
    """Folder of the SavedModel of a Model artifact, or `uri` itself where that is a pushed version."""
    return uri if fileio.exists(os.path.join(uri, "saved_model.pb")) else path_utils.serving_model_path(uri)


def list_files(examples: list[types.Artifact]) -> list[str]:
    """Sorted paths of the test split's TFRecord files of all artifacts; DataError when there are none."""
    folders = artifact_utils.get_split_uris(examples, SPLIT)
    files = sorted(path for folder in folders for path in fileio.glob(os.path.join(folder, "*")))
    if not files:
        raise DataError(f"{', '.join(folders)}: no files in the split '{SPLIT}'. Ingest a span that has one.")
    return files


def write_scenes(result: dict, folder: str) -> None:
    """Writes the rows of each model and the account of the records, on a worker."""
    for label, blocks in result["rows"].items():
        rows = scenes.concatenate([scoring.unpack(block) for block in blocks])
        with fileio.open(os.path.join(folder, SCENES[label]), "wb") as file:
            file.write(scoring.pack(rows))
    account = {"methods": list(result["rows"]), "records": result["records"], "errors": result["errors"]}
    io_utils.write_string_file(os.path.join(folder, ACCOUNT), json.dumps(account))


def read_scenes(folder: str, label: str) -> dict[str, np.ndarray]:
    """The rows that `write_scenes` wrote for one model."""
    with fileio.open(os.path.join(folder, SCENES[label]), "rb") as file:
        return scoring.unpack(file.read())


def make_report(rows: dict[str, dict[str, np.ndarray]], config: Config) -> dict:
    """The content of `metrics.json`: metrics by population and slice, the rules and the verdict.

    `rows` holds the columns of the candidate and, where there are any, of the live model and the classical baseline.
    """
    settings, candidate, live = config.evaluation, rows[scoring.CANDIDATE], rows.get(scoring.LIVE)
    populations = evaluation.evaluate_rows(candidate, settings)
    report: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "num_samples": settings.num_samples,
        "seed": settings.seed,
        "bootstrap_replicates": settings.bootstrap_replicates,
        "scenes_evaluated": len(candidate["scene_id"]),
        "thresholds": rules.check_rules(settings.thresholds, populations, settings.min_scenes),
        "relative": [rules.check_relative(rule, candidate, live, settings) for rule in settings.relative if live],
        "populations": populations,
    }
    report["blessed"] = all(verdict["passed"] for key in ("thresholds", "relative") for verdict in report[key])
    if live:
        report["live"] = evaluation.evaluate_rows(live, settings)
    if scoring.CLASSICAL in rows:
        report["classical"] = evaluation.keep_map_metrics(evaluation.evaluate_rows(rows[scoring.CLASSICAL], settings))
    return report


def write_pages(files: list[str], model_path: str, pages: dict[str, list[str]], config: Config, folder: str) -> None:
    """Samples some scenes again, with the seed of the evaluation, and writes the picture pages.

    Args:
      files: the TFRecord files of the split.
      model_path: the SavedModel.
      pages: file name to the ids of its scenes.
      config: seed and number of samples.
      folder: where the pages go.
    """
    wanted = set().union(*pages.values())
    marks = [name.encode() for name in wanted]
    sampler, found = scoring.Sampler(model_path), {}
    for serialized in (item for file in files for item in read_records(file)):
        if not any(mark in serialized for mark in marks):  # decoding takes far longer than this
            continue
        scene = records.decode(serialized)
        name = scene["scene_id"]
        if name in wanted:
            samples, probabilities = sampler.sample(
                scene["image"][None], config.evaluation.num_samples, config.evaluation.seed, [scene["population"]]
            )
            image, sky_sigma = records.first_band(scene)
            found[name] = {
                "image": image,
                "sky_sigma": sky_sigma,
                "mask": scene["mask"],
                "samples": samples[0],
                "probabilities": probabilities[0],
                "title": f"{name} {scene['population']}",
            }
    for name, chosen in pages.items():
        with fileio.open(os.path.join(folder, name), "wb") as file:
            file.write(gallery.page([found[scene] for scene in chosen]))


def bless(blessing: types.Artifact, model: types.Artifact, blessed: bool) -> None:
    """Writes the ModelBlessing as TFX's own Evaluator does, which is what Pusher and resolvers read."""
    blessing.set_int_custom_property("blessed", int(blessed))
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_string_custom_property("current_model", model.uri)
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if blessed else "NOT_BLESSED"), "")
