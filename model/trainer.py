"""`run_fn` of TFX's Trainer: reads, trains, calibrates, exports.

The parts are in `warm_start`, `training`, `recalibration`, `export`.
"""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from blendinator.config import Config
from blendinator.config_loader import config_from_dict
from blendinator.data.survey import bands_of
from blendinator.model import pace, warm_start
from blendinator.model.export import export
from blendinator.model.input_data import Scenes, load_normalise, load_scenes
from blendinator.model.live import STATISTICS_FILE, training_key
from blendinator.model.monitors import latent_warnings, make_monitor
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.recalibration import recalibrate
from blendinator.model.training import device_strategy, resolve_precision, train

log = logging.getLogger("blendinator.training")


def run_fn(fn_args: Any) -> None:
    """Trains the ProbaUNet that `custom_config["config"]` describes on the raw examples and the transform graph.

    Writes the SavedModel to `fn_args.serving_model_dir` and TensorBoard's logs to `fn_args.model_run_dir`.
    """
    fn_args.custom_config = resolve(fn_args)
    config = config_from_dict(json.loads(fn_args.custom_config["config"]), source="the Trainer's configuration")
    config.checkpoint_root.mkdir(parents=True, exist_ok=True)
    scenes, held_out = (
        load_scenes(files, config.simulation.stamp_size, config.checkpoint_root, num_bands(config))
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    normalise = load_normalise(fn_args.transform_graph_path)
    strategy = device_strategy(config.training.devices)
    with strategy.scope():
        model = build_model(config)
    sky_sigma = warm_start.normalisation_scale(normalise, config.simulation.stamp_size, num_bands(config))
    start = warm_start.start(model, fn_args.base_model, config, sky_sigma)
    training = warm_start.warm_training(config) if start["kind"] == "warm" else config.training
    work_dir = checkpoint_dir(config, fn_args, start)
    with strategy.scope():
        training, budget = pace.budget(config, training, work_dir)
    log.info(
        "training on %d scenes, %d held out, %d weights, %s, z %s of %d",
        scenes.count,
        held_out.count,
        model.count_params(),
        resolve_precision(config.training.precision),
        config.model.latent,
        config.model.latent_dim,
    )

    stopping, calibration = split_held_out(held_out, config)
    monitor = make_monitor(model, normalise, config.training.seed)
    warm, before = start["kind"] == "warm", model.get_weights()
    with strategy.scope():
        folders = str(work_dir), fn_args.model_run_dir
        defects = config.simulation.defects
        facts = train(model, scenes, stopping, normalise, training, *folders, monitor, warm, defects)
        if warm:
            warm_start.average(model, before, config.retraining.warm_start.average)
    if strategy.num_replicas_in_sync > 1:  # from here on one device: a plain copy
        trained, model = model, build_model(config)
        model.set_weights(trained.get_weights())
        monitor = make_monitor(model, normalise, config.training.seed)
    facts["calibration"] = recalibrate(model, calibration, normalise, config.training.seed)
    facts["monitors"] = monitor(stopping)
    facts["latent_warnings"] = latent_warnings(facts["history"], facts["monitors"])
    for warning in facts["latent_warnings"]:
        log.warning(warning)
    facts["budget"] = budget
    facts["start"], facts["sky_sigma"], facts["spans"] = start, sky_sigma, span_numbers(fn_args.train_files)
    facts["config"] = json.loads(fn_args.custom_config["config"])
    facts["code"] = fn_args.custom_config.get("code", "")
    facts["key"] = training_key(fn_args.custom_config)

    export(
        model,
        tft.TFTransformOutput(fn_args.transform_graph_path),
        fn_args.serving_model_dir,
        default_draws=config.evaluation.num_samples,
        default_seed=config.evaluation.seed,
        stamp_size=config.simulation.stamp_size,
        facts=facts,
    )
    keep_statistics(fn_args.train_files, Path(fn_args.serving_model_dir))
    shutil.rmtree(work_dir)


def resolve(fn_args: Any) -> dict:
    """`custom_config` with what was not known when the pipeline was compiled: steps and data of this very run."""
    custom = dict(fn_args.custom_config)
    if fn_args.train_steps:
        raw = json.loads(custom["config"])
        raw.setdefault("training", {})["steps"] = fn_args.train_steps
        custom["config"] = json.dumps(raw)
    if not custom.get("data"):
        digest = hashlib.sha256()
        patterns = [*fn_args.train_files, *fn_args.eval_files]
        for path in sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern)):
            with tf.io.gfile.GFile(path, "rb") as file:
                digest.update(hashlib.sha256(file.read()).digest())
        custom["data"] = digest.hexdigest()[:16]
    return custom


def build_model(config: Config) -> ProbaUNet:
    """A ProbaUNet with weights drawn from `training.seed`."""
    precision = resolve_precision(config.training.precision)
    return ProbaUNet(config.model, config.training.seed, precision, num_bands(config))


def num_bands(config: Config) -> int:
    """Bands of the images."""
    return len(bands_of(config.simulation.survey))


def split_held_out(held_out: Scenes, config: Config) -> tuple[Scenes, dict[str, Scenes]]:
    """Scenes of the calibration split for early stopping and, by population, for the post-hoc calibration.

    Early stopping compares weights on a few scenes of all populations, spread evenly: blends, which it should notice,
    are rare at natural density. The post-hoc calibration uses all scenes, each population for its own odds. The two may
    share scenes.
    """
    stopping = held_out.spread(config.training.evaluation_scenes)
    return stopping, {name: held_out.of(name) for name in np.unique(held_out.population).tolist()}


def span_numbers(files: list[str]) -> list[int]:
    """Numbers of the spans whose ingested files these patterns match, rising."""
    names = (Path(path).name for pattern in files for path in tf.io.gfile.glob(pattern))
    return sorted({int(match[1]) for match in map(re.compile(r"span-(\d+)-").match, names) if match})


def keep_statistics(train_files: list[str], folder: Path) -> None:
    """Puts the statistics of the training split, which AnomalyGate sends along with the examples, into the export: the
    reference that the next spans are compared with."""
    for pattern in train_files:
        split = Path(pattern).parent
        path = split.parent / "statistics" / f"{split.name.removeprefix('Split-')}.pb"
        if path.is_file():
            shutil.copyfile(path, folder / STATISTICS_FILE)


def checkpoint_dir(config: Config, fn_args: Any, start: dict) -> Path:
    """Folder of this training's checkpoints: the same for the same data, configuration, code and start, so that a
    killed training is found again by the next run."""
    key = training_key({**fn_args.custom_config, "start": warm_start.digest(start)})
    return config.checkpoint_root / key
