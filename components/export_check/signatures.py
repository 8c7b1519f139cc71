"""Calls every signature of an exported model. Runs as a script of its own with NumPy and TensorFlow only.

    python -I signatures.py MODEL RECORDS REPORT ANSWERS STAMP_SIZE NUM_SAMPLES SEED

MODEL is a SavedModel, RECORDS a TFRecord file. NUM_SAMPLES and SEED are those behind `serving_default`. Writes REPORT,
a JSON with one entry per check: name, passed, detail. When all outputs are as they should be, it writes ANSWERS, an
.npz with `image` and the outputs for it, `serving_default/class_map` and so on, for a server to be compared with.
"""

import json
import math
import os
import sys
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

SIGNATURES = {
    "sample": {"samples", "probabilities"},
    "sample_with_odds": {"samples", "probabilities"},
    "serving_default": {"class_map", "probabilities", "entropy", "mutual_information"},
    "from_examples": {"class_map", "probabilities", "entropy", "mutual_information"},
    "sample_with_noise": {"samples", "class_map", "probabilities", "entropy", "mutual_information"},
}
FIELD_FILE = os.path.join("assets.extra", "field.json")  # what a client of `sample_with_noise` must know
DTYPES = {
    "samples": np.uint8,
    "class_map": np.uint8,
    "probabilities": np.float32,
    "entropy": np.float32,
    "mutual_information": np.float32,
}
NUM_CLASSES = 3
TOLERANCE = 1e-3  # the order of sums, and with it the rounding in bfloat16, may differ between graphs

Arrays: TypeAlias = dict[str, np.ndarray]  # outputs of a signature, by name


class Checks:
    """Collects the checks' results."""

    def __init__(self) -> None:
        self.results: list[dict] = []

    def add(self, name: str, passed: bool | np.bool_, detail: str = "") -> bool:
        """Notes a check; `detail` says what was found."""
        self.results.append({"name": name, "passed": bool(passed), "detail": detail})
        return bool(passed)


def check_model(
    model: Any,
    image: np.ndarray,
    serialized: list[bytes],
    num_samples: int,
    seed: int,
    checks: Checks,
    facts: dict,
) -> dict[str, Arrays]:
    """All checks of a loaded model.

    Returns the outputs of `serving_default` and `sample`, by signature and name; none when outputs are not sound.

    Args:
      model: what `tf.saved_model.load` returned.
      image: float32 [B, H, W] for a model of one band, else [B, H, W, C], electrons per pixel.
      serialized: the B serialized records.
      num_samples: samples behind `serving_default`.
      seed: their seed.
      checks: a `Checks`.
      facts: content of the export's `FIELD_FILE`.
    """
    missing = sorted(set(SIGNATURES) - set(model.signatures))
    if not checks.add("signatures", not missing, f"missing: {', '.join(missing) or 'none'}"):
        return {}
    image = tf.constant(image)
    default_seed = tf.constant([seed, 0], tf.int32)

    def sample(count: int, key: tf.Tensor | list[int]) -> Arrays:
        return run(model, "sample", image=image, num_samples=tf.constant(count), seed=tf.constant(key, tf.int32))

    first = sample(num_samples, default_seed)
    again = sample(num_samples, default_seed)
    other = sample(num_samples, [seed, 1])
    served = run(model, "serving_default", image=image)
    parsed = run(model, "from_examples", examples=tf.constant(serialized))
    one = run(model, "sample", image=image[:1], num_samples=tf.constant(num_samples), seed=default_seed)
    odds = {name: tf.constant(value, tf.float32) for name, value in facts["odds"][facts["population"]].items()}
    same_odds = run(
        model, "sample_with_odds", image=image, num_samples=tf.constant(num_samples), seed=default_seed, **odds
    )
    noise = field_noise(facts, image.shape[:3], num_samples, seed) | odds
    margin = facts["downsampling"]
    batch, height, width = image.shape[:3]
    after = margin if min(height, width) > 2 * margin else 0  # at the far sides, where the image has room for it
    corner = tf.zeros([len(facts["sample_scales"]), 2])
    whole = run(
        model, "sample_with_noise", image=image, **noise, lattice_offset=corner, margins=tf.zeros([4], tf.int32)
    )
    inner = run(
        model,
        "sample_with_noise",
        image=image,
        **noise,
        lattice_offset=corner + float(margin),
        margins=tf.constant([margin, after, margin, after]),
    )

    shapes = {
        "samples": (batch, num_samples, height, width),
        "probabilities": (batch, height, width, NUM_CLASSES),
        "class_map": (batch, height, width),
        "entropy": (batch, height, width),
        "mutual_information": (batch, height, width),
    }
    results = {
        "sample": first,
        "sample_with_odds": same_odds,
        "serving_default": served,
        "from_examples": parsed,
        "sample_with_noise": whole,
    }
    sound = [check_outputs(name, outputs, shapes, checks) for name, outputs in results.items()]
    if not all(sound):
        return {}
    checks.add(
        "same seed, same samples",
        np.array_equal(first["samples"], again["samples"]),
        f"{share(first['samples'] != again['samples'])} of the pixels differ between two equal calls",
    )
    checks.add(
        "other seed, other samples",
        not np.array_equal(first["samples"], other["samples"]),
        f"{share(first['samples'] != other['samples'])} of the pixels differ between two seeds",
    )
    checks.add(
        "samples differ from each other",
        np.ptp(first["samples"], axis=1).any(),
        f"{share(np.ptp(first['samples'], axis=1) > 0)} of the pixels differ between the samples of an image",
    )
    close(checks, "sample agrees with serving_default", first["probabilities"], served["probabilities"])
    close(checks, "sample_with_odds agrees with sample", same_odds["probabilities"], first["probabilities"])
    close(checks, "from_examples agrees with serving_default", parsed["probabilities"], served["probabilities"])
    close(checks, "an image's result does not depend on its batch", one["probabilities"], first["probabilities"][:1])
    differ = one["samples"] != first["samples"][:1]
    checks.add(
        "an image's samples do not depend on its batch",
        differ.mean() <= TOLERANCE,
        f"{share(differ)} of the pixels differ between an image alone and in a batch",
    )
    rows, columns = slice(margin, height - after), slice(margin, width - after)
    close(checks, "margins are context only", inner["probabilities"], whole["probabilities"][:, rows, columns])
    differ = inner["samples"] != whole["samples"][:, :, rows, columns]
    checks.add(
        "samples hold together across tiles",
        differ.mean() <= TOLERANCE,
        f"{share(differ)} of the pixels differ between an image and its inner part with the same noise",
    )
    return {"serving_default": served, "sample": first}


def field_noise(facts: dict, shape: tf.TensorShape, num_samples: int, seed: int) -> dict[str, tf.Tensor]:
    """Noise for `sample_with_noise` on images of a shape [B, H, W]: latent and class lattices."""
    batch, *side = shape
    places = [1, 1] if facts["latent"] == "global" else [length // facts["downsampling"] for length in side]
    shapes = {"latent_noise": [batch, num_samples, *places, facts["latent_dim"]]}
    for k, scale in enumerate(facts["sample_scales"]):
        points = [math.ceil(length / scale) + 1 for length in side]
        shapes[f"class_noise_{k}"] = [batch, num_samples, facts["class_fields"], *points]
    return {name: tf.random.stateless_normal(full, [seed, i]) for i, (name, full) in enumerate(shapes.items())}


def band_axis(model: Any) -> list[int]:
    """The axis of the bands that a model's images have: [] for one band, else [C]."""
    signature = model.signatures.get("sample")
    return signature.structured_input_signature[1]["image"].shape[3:].as_list() if signature else []


def run(model: Any, name: str, **inputs: tf.Tensor) -> Arrays:
    """Calls a signature; a dictionary of arrays."""
    return {key: value.numpy() for key, value in model.signatures[name](**inputs).items()}


def check_outputs(name: str, outputs: Arrays, shapes: dict[str, tuple[int, ...]], checks: Checks) -> bool:
    """Names, types, shapes and values of one signature's outputs; True when all are as they should be."""
    expected = SIGNATURES[name]
    detail = f"received {sorted(outputs)}; expected {sorted(expected)}"
    if not checks.add(f"{name}: outputs", set(outputs) == expected, detail):
        return False
    good = True
    for key, value in outputs.items():
        as_expected = value.shape == shapes[key] and value.dtype == DTYPES[key]
        detail = f"received {value.dtype} {list(value.shape)}; expected {np.dtype(DTYPES[key])} {list(shapes[key])}"
        good &= checks.add(f"{name}: type and shape of {key}", as_expected, detail)
        detail = f"{share(~np.isfinite(value))} of the values are not"
        good &= checks.add(f"{name}: {key} finite", np.isfinite(value).all(), detail)
    if not good:
        return False
    probabilities = outputs["probabilities"]
    error = np.abs(probabilities.sum(-1) - 1).max()
    good &= checks.add(
        f"{name}: probabilities",
        probabilities.min() >= 0 and error <= TOLERANCE,
        f"smallest {probabilities.min():.3g}; sums differ from 1 by up to {error:.3g}",
    )
    for key in ("samples", "class_map"):
        if key in outputs:
            largest = outputs[key].max()
            good &= checks.add(f"{name}: classes of {key}", largest < NUM_CLASSES, f"largest: {largest}")
    if "entropy" in outputs:
        entropy, information = outputs["entropy"], outputs["mutual_information"]
        good &= checks.add(
            f"{name}: class_map is the most probable class",
            np.array_equal(outputs["class_map"], probabilities.argmax(-1)),
            f"{share(outputs['class_map'] != probabilities.argmax(-1))} of the pixels differ",
        )
        good &= checks.add(
            f"{name}: entropy",
            entropy.min() >= -TOLERANCE and entropy.max() <= np.log(NUM_CLASSES) + TOLERANCE,
            f"from {entropy.min():.3g} to {entropy.max():.3g} nats; allowed: 0 to ln 3",
        )
        good &= checks.add(
            f"{name}: mutual_information",
            information.min() >= -TOLERANCE and (information <= entropy + TOLERANCE).all(),
            f"from {information.min():.3g} to {information.max():.3g} nats; allowed: 0 to the entropy",
        )
    return good


def close(checks: Checks, name: str, a: np.ndarray, b: np.ndarray) -> None:
    """A check that two arrays agree within the tolerance."""
    difference = np.abs(a - b).max()
    checks.add(name, difference <= TOLERANCE, f"probabilities differ by up to {difference:.3g}; allowed: {TOLERANCE}")


def share(mask: np.ndarray) -> str:
    """A share of pixels as text."""
    return f"{np.mean(mask):.3%}"


def main(model_dir: str, records: str, report: str, answers: str, stamp_size: str, num_samples: str, seed: str) -> None:
    """See the module's docstring."""
    side = int(stamp_size)
    serialized = [item.numpy() for item in tf.data.TFRecordDataset(records)]
    checks, found = Checks(), {}
    try:
        loaded = tf.saved_model.load(model_dir)
        shape = [side, side, *band_axis(loaded)]
        image = tf.io.parse_example(serialized, {"image": tf.io.FixedLenFeature(shape, tf.float32)})["image"].numpy()
        with open(os.path.join(model_dir, FIELD_FILE), encoding="utf-8") as file:
            facts = json.load(file)
        found = check_model(loaded, image, serialized, int(num_samples), int(seed), checks, facts)
    except Exception as error:  # whatever a broken export raises is a finding, not a defect of this script
        checks.add("call", False, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")
    if found:
        arrays = {f"{signature}/{key}": value for signature, outputs in found.items() for key, value in outputs.items()}
        np.savez(answers, image=image, **arrays)
    with open(report, "w", encoding="utf-8") as file:
        json.dump({"tensorflow": tf.__version__, "records": len(serialized), "checks": checks.results}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
