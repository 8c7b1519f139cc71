"""The record: one scene as a serialized tf.Example.

Writing needs no TensorFlow: the few kinds of field are encoded by hand, which is many times faster than filling
protocol buffers from lists and keeps the simulator's worker processes small. `tests/data/test_records.py` compares the
result with TensorFlow's own classes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from blendinator.data.classes import CLASSES
from blendinator.data.population import POPULATIONS
from blendinator.errors import DataError

NUM_CLASSES = len(CLASSES)


@dataclass(frozen=True)
class Scalar:
    """One scalar of the record; everything else that knows the scalars follows from `SCALARS`.

    Attributes:
      kind: "bytes", "int64" or "float"; numbers can be sliced by (`evaluation.slices`), text cannot.
      unit: as it is written behind a number; empty for pure numbers.
      low, high: what the schema allows, both ends included; None where there is no bound.
      sentinel: the value where the scalar is undefined, within the bounds; None where it is always defined.
      label: what figures write at it.
      drift: whether a change of its distribution is drift (`components/drift_gate/drift.py`).
      values: the texts that are allowed; empty for any.
    """

    kind: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    sentinel: float | None = None
    label: str = ""
    drift: bool = False
    values: Collection[str] = ()


PIXEL_FEATURES = {"image": "float", "noise_free": "float", "mask": "int64"}
SCALARS = {
    "scene_id": Scalar("bytes"),
    "population": Scalar("bytes", values=POPULATIONS.keys()),
    "num_galaxies": Scalar("int64", "", 0, 10_000, label="galaxies", drift=True),
    "min_separation": Scalar("float", "arcsec", -1.0, 100.0, -1.0, "smallest separation (arcsec)"),
    "brightest_magnitude": Scalar("float", "AB mag", 0.0, 99.0, 99.0, "brightest galaxy (AB mag)"),
    "magnitude_difference": Scalar("float", "mag", -1.0, 50.0, -1.0, "magnitude difference"),
    "snr": Scalar("float", "", 0.0, None, 0.0, "signal-to-noise of the brightest", drift=True),
    "blended_share": Scalar("float", "", 0.0, 1.0, label="blended share of the pixels", drift=True),
    "sky_sigma": Scalar("float", "electrons", 0.001, label="sky noise (electrons)", drift=True),
    "psf_fwhm": Scalar("float", "arcsec", 0.001, 100.0, label="PSF FWHM (arcsec)", drift=True),
    "noise_correlation": Scalar("float", "pixels", 0.0, 3.0, label="noise correlation (pixels)"),
    "num_stars": Scalar("int64", "", 0, 10_000, label="stars"),
    "brightest_star": Scalar("float", "AB mag", 0.0, 99.0, 99.0, "brightest star (AB mag)"),
}
SCALAR_FEATURES = {name: scalar.kind for name, scalar in SCALARS.items()}
UNDEFINED = {name: scalar.sentinel for name, scalar in SCALARS.items() if scalar.sentinel is not None}
NUMBERS = tuple(name for name, scalar in SCALARS.items() if scalar.kind != "bytes")
FEATURES = {**PIXEL_FEATURES, **SCALAR_FEATURES}

_LIST_FIELD = {"bytes": 1, "float": 2, "int64": 3}


def feature_spec(stamp_size: int) -> dict:
    """The features for `tf.io.parse_example`: pixels [stamp_size, stamp_size], scalars []."""
    import tensorflow as tf

    dtype = {"float": tf.float32, "int64": tf.int64, "bytes": tf.string}
    spec = {name: tf.io.FixedLenFeature((stamp_size, stamp_size), dtype[kind]) for name, kind in PIXEL_FEATURES.items()}
    spec.update({name: tf.io.FixedLenFeature((), dtype[kind]) for name, kind in SCALAR_FEATURES.items()})
    return spec


def encode(scene: dict) -> bytes:
    """Serializes a scene: a dictionary with every name of `FEATURES`; the order of the fields is fixed.

    Pixels are arrays of any shape, scalars are numbers, and `scene_id` and `population` are str or bytes.
    """
    return _delimited(1, b"".join(_entry(name, kind, scene[name]) for name, kind in FEATURES.items()))


def decode(serialized: bytes) -> dict:
    """A serialized scene as a dictionary: square float32 and int64 arrays, Python scalars, and str.

    Pixels come out flat if their number is not a square, and empty if missing: see `check`. Raises DataError when this
    is not a tf.Example, a feature is of another kind or not text, or a scalar is missing.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        features = example_pb2.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError(f"This record is not a tf.Example ({error}). Simulate the span again.")
    scene = {}
    for name, kind in FEATURES.items():
        values = getattr(features[name], kind + "_list").value
        if name in SCALAR_FEATURES:
            if len(values) != 1:
                raise DataError(
                    f"feature {name!r}: received {len(values)} {kind} values; allowed: 1. "
                    "Simulate the span again, or give the records this feature."
                )
            scene[name] = _text(name, values[0]) if kind == "bytes" else values[0]
        else:
            array = np.array(values, np.float32 if kind == "float" else np.int64)
            size = round(array.size**0.5)
            scene[name] = array.reshape(size, size) if size * size == array.size else array
    return scene


def check(scene: dict, stamp_size: int, source: str = "record") -> None:
    """Raises DataError unless the scene keeps the contract: shapes, finite pixels, mask in 0..2, known population.

    Args:
      scene: as `decode` returns it.
      stamp_size: pixels per side that are required.
      source: file and record number, named first in messages.
    """
    missing = [name for name in FEATURES if name not in scene]
    if missing:
        raise DataError(f"{source}: the features {', '.join(missing)} are missing. Simulate the span again.")
    where = f"{source} (scene {scene['scene_id']})"
    for name in PIXEL_FEATURES:
        shape = np.shape(scene[name])
        if shape != (stamp_size, stamp_size):
            raise DataError(
                f"{where}: {name} has shape {list(shape)}; allowed: [{stamp_size}, {stamp_size}]. "
                "Set simulation.stamp_size to the size of the span, or simulate the span again."
            )
    for name in ("image", "noise_free"):
        bad = int(np.count_nonzero(~np.isfinite(scene[name])))
        if bad:
            raise DataError(f"{where}: {bad} pixels of {name} are NaN or infinite. Simulate the span again.")
    wrong = sorted(set(np.unique(scene["mask"]).tolist()) - set(range(NUM_CLASSES)))
    if wrong:
        raise DataError(
            f"{where}: mask holds the values {wrong}; allowed: {', '.join(map(str, range(NUM_CLASSES)))}. "
            "Simulate the span again."
        )
    if scene["population"] not in POPULATIONS:
        raise DataError(
            f"{where}: population is {scene['population']!r}; allowed: {', '.join(POPULATIONS)}. "
            "Simulate the span again."
        )


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DataError(f"feature {name!r}: received {value[:40]!r}; allowed: UTF-8 text. Simulate the span again.")


def _entry(name: str, kind: str, value: Any) -> bytes:
    if kind == "float":
        values = np.ascontiguousarray(value, "<f4").tobytes()
    elif kind == "int64":
        values = _varints(np.asarray(value, np.int64).ravel())
    else:
        values = value.encode() if isinstance(value, str) else bytes(value)
    feature = _delimited(_LIST_FIELD[kind], _delimited(1, values))
    return _delimited(1, _delimited(1, name.encode()) + _delimited(2, feature))


def _delimited(field: int, payload: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(payload)) + payload


def _varints(values: np.ndarray) -> bytes:
    if values.size and values.min() >= 0 and values.max() < 128:  # one byte each: the mask
        return values.astype(np.uint8).tobytes()
    return b"".join(_varint(int(value) % 2**64) for value in values)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
