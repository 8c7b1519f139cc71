"""Whatever bytes a record has, it is decoded and checked or refused by a DataError."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tensorflow.core.example import example_pb2

from blendinator.data import records
from blendinator.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say of damaged input is no news here

SIZE = 4
SCENE = {
    "image": np.ones((SIZE, SIZE), np.float32),
    "noise_free": np.ones((SIZE, SIZE), np.float32),
    "mask": np.ones((SIZE, SIZE), np.int64),
    "scene_id": "1:4711",
    "population": "boosted",
    "num_galaxies": 300,
    "min_separation": -1.0,
    "brightest_magnitude": 21.5,
    "magnitude_difference": 0.25,
    "snr": 40.0,
    "blended_share": 0.125,
    "sky_sigma": 26.25,
    "psf_fwhm": 0.17,
    "noise_correlation": 0.0,
    "num_stars": 1,
    "brightest_star": 21.5,
}
WHOLE = records.encode(SCENE)
LISTS = st.one_of(
    st.tuples(st.just("bytes_list"), st.lists(st.binary(max_size=8), max_size=3)),
    st.tuples(st.just("float_list"), st.lists(st.floats(width=32), max_size=20)),
    st.tuples(st.just("int64_list"), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)),
)


def read(serialized: bytes):
    try:
        scene = records.decode(serialized)
        records.check(scene, SIZE, "x.gz: record 0")
    except DataError as error:
        assert "Simulate the span again" in str(error) or "simulate the span again" in str(error)
        return None
    assert scene["image"].shape == (SIZE, SIZE, 1) and np.isfinite(scene["image"]).all()
    assert set(np.unique(scene["mask"])) <= {0, 1, 2} and scene["population"] in records.POPULATIONS
    return scene


@given(st.binary(max_size=300))
def test_any_bytes(content):
    read(content)


@given(st.integers(0, len(WHOLE)), st.integers(0, 20), st.binary(max_size=8))
def test_a_damaged_record(start, length, put):
    read(WHOLE[:start] + put + WHOLE[start + length :])


@given(st.dictionaries(st.sampled_from([*records.FEATURES, "other"]), LISTS, max_size=4))
def test_any_feature_of_any_kind(changed):
    example = example_pb2.Example.FromString(WHOLE)
    for name, (kind, values) in changed.items():
        example.features.feature[name].Clear()
        getattr(example.features.feature[name], kind).value.extend(values)
    read(example.SerializeToString())


def test_a_whole_record_passes():
    assert read(WHOLE)["scene_id"] == "1:4711"


def test_text_that_is_no_utf8():
    with pytest.raises(DataError, match="feature 'scene_id': received b'.xff'; allowed: UTF-8"):
        records.decode(records.encode({**SCENE, "scene_id": b"\xff"}))
