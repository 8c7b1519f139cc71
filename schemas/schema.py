"""The curated schema of the record, for a stamp size and a number of bands.

`scene.pbtxt` holds the domains but for those that are tables of their own: the classes of the mask
(`blendinator.data.classes`) and the texts that a scalar may have (`SCALARS` in `blendinator.data.records`).
"""

from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from blendinator.data.classes import CLASSES
from blendinator.data.records import SCALARS, feature_shape


def load_schema(stamp_size: int, bands: int = 1) -> schema_pb2.Schema:
    """The schema of records with images of `stamp_size` x `stamp_size` pixels in a number of bands."""
    text = Path(__file__).with_name("scene.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    for feature in schema.feature:
        for size in feature_shape(feature.name, stamp_size, bands):
            feature.shape.dim.add(size=size)
        if feature.name == "mask":
            feature.int_domain.min, feature.int_domain.max = 0, len(CLASSES) - 1
            feature.annotation.comment.append(", ".join(f"{number} {one.label}" for number, one in enumerate(CLASSES)))
        elif feature.name in SCALARS and SCALARS[feature.name].values:
            feature.string_domain.name = feature.name
            feature.string_domain.value.extend(SCALARS[feature.name].values)
    return schema


def find_violation(feature: schema_pb2.Feature, values: np.ndarray | None) -> str | None:
    """What is wrong with one record's values of a feature, or None.

    TFDV says which feature of a split is wrong; this says it of a single record, so that the record can be named.

    Args:
      feature: the feature of the schema.
      values: flat array of numbers or bytes; None when the record lacks the feature.
    """
    if values is None or not len(values):
        return "is missing"
    expected = int(np.prod([dim.size for dim in feature.shape.dim], dtype=int))
    if len(values) != expected:
        shape = [dim.size for dim in feature.shape.dim]
        return f"has {len(values)} values; allowed: {expected}, which is shape {shape}"
    kind = {"f": schema_pb2.FLOAT, "i": schema_pb2.INT}.get(values.dtype.kind, schema_pb2.BYTES)
    if kind != feature.type:
        return f"is of type {schema_pb2.FeatureType.Name(kind)}; allowed: {schema_pb2.FeatureType.Name(feature.type)}"
    if feature.HasField("string_domain"):
        allowed = list(feature.string_domain.value)
        wrong = [value.decode(errors="replace") for value in values if value.decode(errors="replace") not in allowed]
        return f"is {wrong[0]!r}; allowed: {', '.join(allowed)}" if wrong else None
    for name in ("float_domain", "int_domain"):
        if feature.HasField(name):
            return _find_outlier(getattr(feature, name), values)
    return None


def _find_outlier(domain: schema_pb2.FloatDomain | schema_pb2.IntDomain, values: np.ndarray) -> str | None:
    finite = np.isfinite(values)
    if not finite.all():
        return f"has {np.count_nonzero(~finite)} values that are NaN or infinite"
    for bound, wrong in (("min", values.min() < domain.min), ("max", values.max() > domain.max)):
        if domain.HasField(bound) and wrong:
            extreme = getattr(values, bound)()
            side = "at least" if bound == "min" else "at most"
            return f"holds {extreme:g}; allowed: {side} {getattr(domain, bound):g}"
    return None
