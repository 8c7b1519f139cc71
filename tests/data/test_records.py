"""The record: what is written is what TensorFlow reads, and each broken contract has its message."""

import re

import numpy as np
import pytest
import tensorflow as tf

from blendinator.data import records
from blendinator.errors import DataError


def scene(size=4, bands=1):
    rng = np.random.default_rng(3)
    return {
        "image": rng.normal(size=(size, size, bands)).astype(np.float32),
        "noise_free": rng.normal(size=(size, size, bands)).astype(np.float32),
        "mask": rng.integers(0, 3, (size, size)),
        "scene_id": "1:4711",
        "population": "boosted",
        "num_galaxies": 300,  # two bytes as a varint
        "min_separation": -1.0,
        "brightest_magnitude": 21.5,
        "magnitude_difference": 0.25,
        "snr": 40.0,
        "blended_share": 0.125,
        "sky_sigma": 26.25,
        "psf_fwhm": 0.171875,
        "noise_correlation": 0.5,
        "num_stars": 1,
        "brightest_star": 21.5,
    }


def test_the_bytes_are_those_of_a_tf_example():
    expected = tf.train.Example()
    for name, kind in records.FEATURES.items():
        value = scene()[name]
        values = [value.encode()] if kind == "bytes" else np.ravel(value).tolist()
        getattr(expected.features.feature[name], kind + "_list").value.extend(values)
    assert tf.train.Example.FromString(records.encode(scene())) == expected


def test_the_order_of_the_fields_does_not_depend_on_the_dictionary():
    assert records.encode(dict(reversed(scene().items()))) == records.encode(scene())


def test_parse_example_reads_the_record_by_its_spec():
    parsed = tf.io.parse_example(tf.constant([records.encode(scene())]), records.feature_spec(4))
    np.testing.assert_array_equal(parsed["image"][0], scene()["image"])
    np.testing.assert_array_equal(parsed["mask"][0], scene()["mask"])
    assert parsed["scene_id"].numpy() == [b"1:4711"]
    assert parsed["num_galaxies"].numpy() == [300]


def test_decode_returns_what_was_encoded():
    decoded = records.decode(records.encode(scene()))
    assert list(decoded) == list(records.FEATURES)
    for name, value in scene().items():
        np.testing.assert_array_equal(decoded[name], value)
    records.check(decoded, 4)


def test_negative_integers_survive():
    changed = {**scene(), "mask": np.full((4, 4), -1)}
    np.testing.assert_array_equal(records.decode(records.encode(changed))["mask"], changed["mask"])


def test_decode_of_no_example():
    with pytest.raises(DataError, match="This record is not a tf.Example .* Simulate the span again"):
        records.decode(b"\xff\xff\xff")


def test_decode_of_a_missing_scalar():
    with pytest.raises(DataError, match="feature 'scene_id': received 0 bytes values; allowed: 1"):
        records.decode(b"")


def broken(**values):
    return {**scene(), **values}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            broken(image=np.zeros((4, 5, 1))),
            "a.gz record 7 (scene 1:4711): image has shape [4, 5, 1]; allowed: [4, 4, 1]",
        ),
        (
            broken(image=np.zeros((4, 4, 2))),
            "a.gz record 7 (scene 1:4711): bands of image: received 2; allowed: 1, the number of simulation.survey.",
        ),
        (broken(sky_sigma=np.ones(2)), "values of sky_sigma: received 2; allowed: 1, one for each band. Set"),
        (broken(image=np.full((4, 4, 1), np.nan)), "16 pixels of image are NaN or infinite"),
        (broken(noise_free=np.full((4, 4, 1), np.inf)), "16 pixels of noise_free are NaN or infinite"),
        (broken(mask=np.full((4, 4), 3)), "mask holds the values [3]; allowed: 0, 1, 2"),
        (broken(population="crowded"), "population is 'crowded'; allowed: boosted, natural, bright"),
        ({"image": np.zeros((4, 4))}, "a.gz record 7: the features noise_free, mask,"),
    ],
)
def test_check_names_record_value_and_remedy(changed, message):
    with pytest.raises(DataError, match=re.escape(message) + ".*imulate the span again"):
        records.check(changed, 4, "a.gz record 7")
