"""Warm start: a training that goes on from the live model's weights, or says why it starts cold.

The normalisation is fitted again on every span (`blendinator.model.preprocessing`), so the live weights see inputs
that are scaled by the ratio of two estimates of the same sky sigma. That ratio is checked: beyond `max_sigma_change`
the weights are not taken over.
"""

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.config import Config, TrainingConfig
from blendinator.config_loader import config_to_dict
from blendinator.data.records import pixel_shape
from blendinator.former_keys import migrate_model
from blendinator.model.export import WEIGHTS_FILE
from blendinator.model.input_data import Normalise
from blendinator.model.live import live_version, read_facts
from blendinator.model.probaunet import ProbaUNet

log = logging.getLogger("blendinator.training")
_PROBE = 1000.0  # electrons; any flux well above the noise shows the scale


def start(model: ProbaUNet, base_model: str | Path | None, config: Config, sky_sigma: list[float]) -> dict:
    """Loads the live model's weights into `model` where they fit; says so, or why not, in the log.

    Args:
      model: the network, with the weights of a cold start.
      base_model: folder of the live SavedModel; None or an empty folder when there is none.
      config: of this training.
      sky_sigma: scale of its normalisation in each band, electrons.

    Returns:
      Facts: `kind` ("warm" or "cold"), `reason` of a cold start, `version` and `key` of the live model, and
      `sigma_change`, the relative change of the normalisation's scale, in the band where it is largest.
    """
    base = Path(base_model) if base_model else None
    if base is None or not (base / "saved_model.pb").is_file():
        return _cold("there is no live model" if config.retraining.warm_start.enabled else "it is switched off", {})
    facts = read_facts(base)
    found: dict[str, Any] = {"version": live_version(base.parent), "key": facts.get("key")}
    if len(_scales(facts)) == len(sky_sigma):
        found["sigma_change"] = _largest_change(sky_sigma, _scales(facts))
    reason = why_cold(facts, config, sky_sigma)
    if reason is None and not (base / WEIGHTS_FILE).is_file():
        reason = f"the live model has no {WEIGHTS_FILE}"
    if reason is None:
        reason = _load(model, base / WEIGHTS_FILE)
    if reason:
        return _cold(reason, found)
    model.reset_calibration()  # it is fitted again at the end, on uncalibrated logits
    log.info(
        "warm start from version %s; the normalisation changed by %+.2f %%",
        found["version"],
        100 * found["sigma_change"],
    )
    return {"kind": "warm", **found}


def why_cold(facts: dict, config: Config, sky_sigma: list[float]) -> str | None:
    """Why the weights of a model with these facts cannot initialise this training; None when they are."""
    if "sky_sigma" not in facts or "config" not in facts:
        return "the live model does not tell its normalisation and architecture"
    ours, theirs = config_to_dict(config.model), migrate_model(facts["config"]["model"])
    other = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if other:
        return "the architecture differs in " + ", ".join(f"model.{key}" for key in other)
    if len(_scales(facts)) != len(sky_sigma):
        return f"the number of bands changed from {len(_scales(facts))} to {len(sky_sigma)}"
    bound = config.retraining.warm_start.max_sigma_change
    change = _largest_change(sky_sigma, _scales(facts))
    if abs(change) > bound:
        return (
            f"the normalisation changed by {100 * change:+.1f} %, and retraining.warm_start.max_sigma_change is "
            f"{100 * bound:g} %"
        )
    return None


def warm_training(config: Config) -> TrainingConfig:
    """The training after a warm start: fewer steps at a lower rate, from the live weights, by default without the first
    phase."""
    warm, training = config.retraining.warm_start, config.training
    steps = max(1, round(training.steps * warm.steps_share))
    rates = {
        field.name: getattr(training, field.name) * warm.learning_rate_share
        for field in dataclasses.fields(training)
        if field.name.endswith("learning_rate")
    }
    return dataclasses.replace(
        training,
        steps=steps,
        deterministic_share=warm.deterministic_share,
        multi_sample_share=warm.multi_sample_share,
        evaluate_every=min(training.evaluate_every, max(1, steps // 4)),
        **rates,
    )


def average(model: ProbaUNet, start: list[np.ndarray], share: float) -> None:
    """Replaces the weights by `share` times themselves plus the rest times those of the start.

    Both lie in one valley of the loss, where the mean keeps much of what each does better (Wortsman et al. 2022,
    arXiv:2109.01903). What a few scenes have taught does not undo what many did.
    """
    model.set_weights([(1.0 - share) * before + share * after for before, after in zip(start, model.get_weights())])


def normalisation_scale(normalise: Normalise, stamp_size: int, bands: int = 1) -> list[float]:
    """The s of asinh(image / s) in each band, in electrons, from the transform graph."""
    values = np.asarray(normalise(np.full((1, *pixel_shape(stamp_size, bands)), _PROBE, np.float32)))[0, 0, 0]
    return [_PROBE / math.sinh(value) for value in values.tolist()]


def _scales(facts: dict) -> list[float]:
    """The scales that a model notes: one for each band, or a number, as models of one band did at first."""
    return np.atleast_1d(facts.get("sky_sigma", [])).tolist()


def _largest_change(new: list[float], old: list[float]) -> float:
    return max((a / b - 1.0 for a, b in zip(new, old)), key=abs)


def digest(base_facts: dict) -> str:
    """What tells trainings from different starts apart, for the folder of their checkpoints."""
    return json.dumps([base_facts["kind"], base_facts.get("version"), base_facts.get("key")])


def _load(model: Any, path: Path) -> str | None:
    """Loads weights; returns why they do not fit the network's code, which leaves the weights as they were."""
    before = model.get_weights()
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        model.set_weights(before)
        return f"the live model's weights do not fit ({str(error).splitlines()[0]})"
    return None


def _cold(reason: str, found: dict) -> dict:
    log.info("cold start: %s", reason)
    return {"kind": "cold", "reason": reason, **found}
