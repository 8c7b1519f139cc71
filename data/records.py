"""The record: one scene as a serialized tf.Example.

Writing needs no TensorFlow: the few kinds of field are encoded by hand, which is many times faster than filling
protocol buffers from lists and keeps the simulator's worker processes small. `tests/data/test_records.py` compares the
result with TensorFlow's own classes.
"""

import math
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
      per_band: whether each band of the image has its own; with one band it is a scalar like the others.
    """

    kind: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    sentinel: float | None = None
    label: str = ""
    drift: bool = False
    values: Collection[str] = ()
    per_band: bool = False


PIXEL_FEATURES = {"image": "float", "noise_free": "float", "mask": "int64"}
IMAGES = ("image", "noise_free")  # those with bands
SCALARS = {
    "scene_id": Scalar("bytes"),
    "population": Scalar("bytes", values=POPULATIONS.keys()),
    "num_galaxies": Scalar("int64", "", 0, 10_000, label="galaxies", drift=True),
    "min_separation": Scalar("float", "arcsec", -1.0, 100.0, -1.0, "smallest separation (arcsec)"),
    "brightest_magnitude": Scalar("float", "AB mag", 0.0, 99.0, 99.0, "brightest galaxy (AB mag)"),
    "magnitude_difference": Scalar("float", "mag", -1.0, 50.0, -1.0, "magnitude difference"),
    "snr": Scalar("float", "", 0.0, None, 0.0, "signal-to-noise of the brightest", drift=True),
    "blended_share": Scalar("float", "", 0.0, 1.0, label="blended share of the pixels", drift=True),
    "sky_sigma": Scalar("float", "electrons", 0.001, label="sky noise (electrons)", drift=True, per_band=True),
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


def pixel_shape(stamp_size: int, bands: int = 1) -> tuple[int, int, int]:
    """The shape of an image: rows, columns and bands. Values follow one another in this order, in C's."""
    return stamp_size, stamp_size, bands


def feature_shape(name: str, stamp_size: int, bands: int = 1) -> tuple[int, ...]:
    """The shape of a feature: `pixel_shape` of images, that without the bands of the mask, () of scalars.

    A scalar that each band has is (bands,) where there are several.
    """
    if name in PIXEL_FEATURES:
        return pixel_shape(stamp_size, bands)[: 2 if name == "mask" else 3]
    return (bands,) if SCALARS[name].per_band and bands > 1 else ()


def feature_spec(stamp_size: int, bands: int = 1) -> dict:
    """The features for `tf.io.parse_example`, each of its `feature_shape`."""
    import tensorflow as tf

    dtype = {"float": tf.float32, "int64": tf.int64, "bytes": tf.string}
    return {
        name: tf.io.FixedLenFeature(feature_shape(name, stamp_size, bands), dtype[kind])
        for name, kind in FEATURES.items()
    }


def first_band(scene: dict) -> tuple[np.ndarray, float]:
    """The first band of a scene's image [S, S] and its sky sigma: for pictures, and for methods that take one band."""
    return scene["image"][..., 0], number(scene, "sky_sigma")


def number(scene: dict, name: str) -> float:
    """A scalar of a scene as one number, that of the first band where each band has its own."""
    return float(np.ravel(scene[name])[0])


def encode(scene: dict) -> bytes:
    """Serializes a scene: a dictionary with every name of `FEATURES`; the order of the fields is fixed.

    Pixels are arrays of any shape, scalars are numbers, and `scene_id` and `population` are str or bytes.
    """
    return _delimited(1, b"".join(_entry(name, kind, scene[name]) for name, kind in FEATURES.items()))


def decode(serialized: bytes) -> dict:
    """A serialized scene as a dictionary: float32 images [S, S, C], int64 mask [S, S], Python scalars, and str.

    S and C follow from the numbers of values; where those fit no square, pixels come out flat: see `check`. Raises
    DataError when this is not a tf.Example, a feature is of another kind or not text, or a scalar is missing.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        features = example_pb2.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError(f"This record is not a tf.Example ({error}). Simulate the span again.")
    scene: dict[str, Any] = {}
    for name, kind in FEATURES.items():
        values = getattr(features[name], kind + "_list").value
        if name in SCALAR_FEATURES:
            if len(values) != 1 and not (values and SCALARS[name].per_band):
                raise DataError(
                    f"feature {name!r}: received {len(values)} {kind} values; allowed: 1. "
                    "Simulate the span again, or give the records this feature."
                )
            scene[name] = _text(name, values[0]) if kind == "bytes" else values[0]
            if len(values) > 1:
                scene[name] = np.array(values, np.float32)
        else:
            scene[name] = np.array(values, np.float32 if kind == "float" else np.int64)
    side = math.isqrt(scene["mask"].size)
    if side and side * side == scene["mask"].size:
        scene["mask"] = scene["mask"].reshape(side, side)
        for name in IMAGES:
            if scene[name].size and scene[name].size % (side * side) == 0:
                scene[name] = scene[name].reshape(side, side, -1)
    return scene


def check(scene: dict, stamp_size: int, source: str = "record", bands: int = 1) -> None:
    """Raises DataError unless the scene keeps the contract: shapes, finite pixels, mask in 0..2, known population.

    Args:
      scene: as `decode` returns it.
      stamp_size: pixels per side that are required.
      bands: of the image that are required.
      source: file and record number, named first in messages.
    """
    missing = [name for name in FEATURES if name not in scene]
    if missing:
        raise DataError(f"{source}: the features {', '.join(missing)} are missing. Simulate the span again.")
    where = f"{source} (scene {scene['scene_id']})"
    for name in PIXEL_FEATURES:
        shape, allowed = np.shape(scene[name]), feature_shape(name, stamp_size, bands)
        if shape[:2] == allowed[:2] and len(shape) == len(allowed) and shape != allowed:
            raise DataError(
                f"{where}: bands of {name}: received {shape[2]}; allowed: {bands}, the number of simulation.survey. "
                "Set simulation.survey to that of the span, or simulate the span again."
            )
        if shape != allowed:
            raise DataError(
                f"{where}: {name} has shape {list(shape)}; allowed: {list(allowed)}. "
                "Set simulation.stamp_size to the size of the span, or simulate the span again."
            )
    for name, scalar in SCALARS.items():
        if scalar.per_band and np.size(scene[name]) != bands:
            raise DataError(
                f"{where}: values of {name}: received {np.size(scene[name])}; allowed: {bands}, one for each band. "
                "Set simulation.survey to that of the span, or simulate the span again."
            )
    for name in IMAGES:
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
