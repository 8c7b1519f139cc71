"""Each kind of damage to a record must be an anomaly of the right feature for TFDV."""

import gzip

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import standard_artifacts

from blendinator.components.scene_schema import executor
from blendinator.data import records
from blendinator.data.classes import CLASSES
from blendinator.data.tfrecords import frame_record
from blendinator.schemas.schema import find_violation, load_schema

SIZE = 8


def scene(**changes):
    values = {
        "image": np.full((SIZE, SIZE, 1), 1.5, np.float32),
        "noise_free": np.zeros((SIZE, SIZE, 1), np.float32),
        "mask": np.zeros((SIZE, SIZE), np.int64),
        "scene_id": "1:0",
        "population": "boosted",
        "num_galaxies": 0,
        "min_separation": -1.0,
        "brightest_magnitude": 99.0,
        "magnitude_difference": -1.0,
        "snr": 0.0,
        "blended_share": 0.0,
        "sky_sigma": 26.3,
        "psf_fwhm": 0.17,
        "noise_correlation": 0.5,
        "num_stars": 1,
        "brightest_star": 21.5,
    }
    return {**values, **changes}


def with_pixel(name, value):
    pixels = scene()[name]
    pixels[3, 4] = value
    return scene(**{name: pixels})


def without(name):
    """The serialized scene in which a feature goes by another name, so that it is missing."""
    return records.encode(scene()).replace(name.encode(), b"x" * len(name))


def find_anomalies(serialized, folder):
    """{feature: description} of TFDV's anomalies of a file with a good record and these."""
    path = folder / "records.tfrecord.gz"
    with gzip.open(path, "wb") as file:
        for data in [records.encode(scene(scene_id="1:1")), *serialized]:
            file.write(frame_record(data))
    statistics = tfdv.generate_statistics_from_tfrecord(str(path))
    anomalies = tfdv.validate_statistics(statistics, load_schema(SIZE)).anomaly_info
    return {name: info.description for name, info in anomalies.items()}


def test_clean_records_have_no_anomalies(tmp_path):
    assert find_anomalies([records.encode(scene())], tmp_path) == {}


@pytest.mark.parametrize(
    "damage",
    [
        {
            "image": with_pixel("image", np.nan),
            "mask": with_pixel("mask", 3),
            "population": scene(population="crowded"),
            "blended_share": scene(blended_share=1.5),
            "snr": scene(snr=float("nan")),
        },
        {
            "image": with_pixel("image", np.inf),
            "noise_free": with_pixel("noise_free", np.nan),
            "mask": with_pixel("mask", -1),
            "sky_sigma": scene(sky_sigma=0.0),
            "min_separation": scene(min_separation=-2.0),
        },
        {name: scene(**{name: scene()[name][:, 1:]}) for name in ("image", "noise_free", "mask")},
        {name: without(name) for name in ("image", "mask", "snr", "population")},
    ],
    ids=["values", "other values", "shape", "missing"],
)
def test_each_damage_is_an_anomaly_of_its_feature(damage, tmp_path):
    """Each damage sits in a record of its own."""
    serialized = [item if isinstance(item, bytes) else records.encode(item) for item in damage.values()]
    assert set(find_anomalies(serialized, tmp_path)) & set(records.FEATURES) == set(damage)


def test_schema_covers_the_record():
    schema = load_schema(SIZE)
    assert sorted(feature.name for feature in schema.feature) == sorted(records.FEATURES)
    for feature in schema.feature:
        shape = [dim.size for dim in feature.shape.dim]
        assert shape == list(records.feature_shape(feature.name, SIZE))
        assert feature.presence.min_fraction == 1.0


@pytest.mark.parametrize("name", records.SCALARS)
def test_the_schema_allows_what_the_table_of_the_scalars_says(name):
    scalar = records.SCALARS[name]
    feature = next(feature for feature in load_schema(SIZE).feature if feature.name == name)
    kind = {schema_pb2.BYTES: "bytes", schema_pb2.INT: "int64", schema_pb2.FLOAT: "float"}[feature.type]
    assert kind == scalar.kind
    assert tuple(feature.string_domain.value) == tuple(scalar.values)
    domain = feature.int_domain if scalar.kind == "int64" else feature.float_domain
    bounds = [getattr(domain, bound) if domain.HasField(bound) else None for bound in ("min", "max")]
    assert bounds == [None if bound is None else pytest.approx(bound) for bound in (scalar.low, scalar.high)]
    assert scalar.sentinel is None or find_violation(feature, np.array([scalar.sentinel], np.float32)) is None


def test_the_mask_holds_the_table_of_the_classes():
    mask = next(feature for feature in load_schema(SIZE).feature if feature.name == "mask")
    assert (mask.int_domain.min, mask.int_domain.max) == (0, len(CLASSES) - 1)
    assert list(mask.annotation.comment) == ["0 background, 1 one source, 2 blended"]


@pytest.mark.parametrize("size", [32, 64])
def test_component_writes_the_schema_for_a_stamp_size(size, tmp_path):
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path)
    executor.Executor().Do({}, {"schema": [artifact]}, {"stamp_size": size, "bands": 2})
    assert tfdv.load_schema_text(str(tmp_path / executor.SCHEMA_FILE)) == load_schema(size, 2)


FLAT = np.zeros(SIZE * SIZE, np.float32)


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("image", None, "is missing"),
        ("image", FLAT[:-1], "has 63 values; allowed: 64, which is shape [8, 8, 1]"),
        ("image", FLAT.astype(np.int64), "is of type INT; allowed: FLOAT"),
        ("image", np.where(np.arange(64) < 2, np.inf, FLAT), "has 2 values that are NaN or infinite"),
        ("mask", np.full(64, 3), "holds 3; allowed: at most 2"),
        ("mask", np.full(64, -1), "holds -1; allowed: at least 0"),
        ("population", np.array([b"crowded"], object), "is 'crowded'; allowed: boosted, natural, bright"),
        ("snr", np.array([-0.5], np.float32), "holds -0.5; allowed: at least 0"),
        ("image", FLAT, None),
        ("mask", np.full(64, 2), None),
        ("scene_id", np.array([b"1:0"], object), None),
    ],
)
def test_violation_of_one_record(name, values, message):
    feature = next(feature for feature in load_schema(SIZE).feature if feature.name == name)
    assert find_violation(feature, values) == message
