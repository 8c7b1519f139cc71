"""The client for notebooks: tiles without seams, samples that hold together, and what it needs."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.nddata import CCDData, NDData
from astropy.units import Quantity, def_unit, electron, set_enabled_units
from astropy.utils.masked import Masked

from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.model.client import Segmenter
from blendinator.model.live import FIELD_FILE
from blendinator.model.maps import NO_DATA

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-5  # of probabilities, in float32: the order of sums may differ between tiles of other sizes


def test_shapes_types_and_ranges(segmenter, image):
    maps = segmenter.sample(image, num_samples=3, seed=1)
    side = image.shape
    assert {name: (value.shape, value.dtype) for name, value in vars(maps).items()} == {
        "samples": ((3, *side), np.uint8),
        "probabilities": ((*side, 3), np.float32),
        "class_map": (side, np.uint8),
        "entropy": (side, np.float32),
        "mutual_information": (side, np.float32),
    }
    assert maps.samples.max() <= 2 and np.ptp(maps.samples, axis=0).any()
    np.testing.assert_allclose(maps.probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(maps.class_map, maps.probabilities.argmax(axis=-1))
    p = maps.probabilities
    np.testing.assert_allclose(maps.entropy, -(p * np.log(p)).sum(axis=-1), atol=1e-5)
    assert maps.mutual_information.min() >= 0 and (maps.mutual_information <= maps.entropy + 1e-6).all()


@pytest.mark.parametrize("tile", [8, 24])
def test_no_seams_and_samples_that_hold_together(pushed, image, tile):
    """Tiles of any size give the probabilities of one pass, and the same samples: no object is cut at a border."""
    whole = Segmenter.load(pushed, tile=4096).sample(image, 4, seed=2)
    tiled = Segmenter.load(pushed, tile=tile).sample(image, 4, seed=2)
    np.testing.assert_allclose(tiled.probabilities, whole.probabilities, atol=TOLERANCE)
    np.testing.assert_allclose(tiled.mutual_information, whole.mutual_information, atol=TOLERANCE)
    assert np.mean(tiled.samples != whole.samples) < 1e-4  # where a probability and the field are equal up to rounding


def test_another_population_has_its_own_odds(pushed, image):
    """More is called blended at odds that favour it by two nats; the default is what the model is meant for."""
    usual, natural, boosted = (
        Segmenter.load(pushed, 32, population).sample(image, 4, seed=2) for population in (None, "natural", "boosted")
    )
    np.testing.assert_array_equal(usual.probabilities, natural.probabilities)
    assert (boosted.probabilities[..., 2] > natural.probabilities[..., 2]).all()
    assert pickle.loads(pickle.dumps(Segmenter.load(pushed, 32, "boosted"))).population == "boosted"


def test_an_unknown_population_is_refused(pushed):
    with pytest.raises(ConfigError, match="population: received 'dense'; allowed for .*: boosted, natural"):
        Segmenter.load(pushed, population="dense")


def test_a_smaller_margin_would_show(pushed, image):
    """The test above can fail: without context the borders differ."""
    whole = Segmenter.load(pushed, tile=4096).sample(image, 2, seed=2)
    tiled = Segmenter.load(pushed, tile=24)
    tiled.facts["receptive_radius"] = 0
    assert np.abs(tiled.sample(image, 2, seed=2).probabilities - whole.probabilities).max() > 100 * TOLERANCE


def test_seed_and_number_of_samples(segmenter, image):
    first, again, other, fewer = (segmenter.sample(image, n, seed) for n, seed in ((4, 1), (4, 1), (4, 2), (2, 1)))
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.samples[:2], fewer.samples)
    assert (first.samples != other.samples).any()


def test_samples_agree_with_their_probabilities(segmenter, image):
    maps = segmenter.sample(image, 400, seed=1)
    share = np.stack([(maps.samples == c).mean(axis=0) for c in range(3)], axis=-1)
    assert np.abs(share - maps.probabilities).max() < 5 * 0.5 / np.sqrt(400)
    assert np.abs(share - maps.probabilities).mean() < 0.02


def test_pixels_without_data(segmenter, image):
    holed = image.copy()
    holed[20:25, 30:40] = np.nan
    holed[0, 0] = np.inf
    maps, filled = segmenter.sample(holed, 2), segmenter.sample(np.where(np.isfinite(holed), holed, 0), 2)
    missing = ~np.isfinite(holed)
    assert (maps.samples[:, missing] == NO_DATA).all() and (maps.class_map[missing] == NO_DATA).all()
    for name in ("probabilities", "entropy", "mutual_information"):
        value = getattr(maps, name)
        assert np.isnan(value[missing]).all()
        np.testing.assert_array_equal(value[~missing], getattr(filled, name)[~missing])


@pytest.mark.parametrize("side", [(1, 1), (3, 50), (16, 16)])
def test_any_size(segmenter, side):
    assert segmenter.sample(np.zeros(side), 2).samples.shape == (2, *side)


def test_newest_version_is_taken(pushed):
    segmenter = Segmenter.load(pushed)
    assert segmenter.path.name == "1700000000" and segmenter.key == "abc"
    assert segmenter.survey["name"] == "euclid_wide" and segmenter.survey["sky_sigma"] == pytest.approx(26.3, abs=0.1)
    assert segmenter.halo == 6


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((2, 3, 4)), r"received float64 of shape \[2, 3, 4\]; allowed: a two-dimensional array"),
        (np.zeros((0, 4)), "allowed: a two-dimensional array"),
        (np.array([["a"]]), "allowed: a two-dimensional array of real numbers"),
        (np.full((4, 4), np.nan), "no pixel is finite"),
        ([[1.0, 2.0], [3.0]], "image: this is not an array of numbers|two-dimensional array"),
        (np.ones((4, 4), complex), "received complex128"),
    ],
)
def test_bad_images(segmenter, image, message):
    with pytest.raises(DataError, match=message):
        segmenter.sample(image)


def masks(image):
    """The image, with the left 8 columns marked in every way."""
    mask = np.zeros(image.shape, bool)
    mask[:, :8] = True
    return {
        "numpy.ma": np.ma.masked_array(image, mask),
        "CCDData": CCDData(image, unit="electron", mask=mask),
        "NDData": NDData(image, mask=mask),
        "Masked": Masked(image, mask=mask),
        "NaN": np.where(mask, np.nan, image),
        "too large": np.where(mask, 1e40, image.astype(float)),
    }


@pytest.mark.parametrize("kind", ["numpy.ma", "CCDData", "NDData", "Masked", "NaN", "too large"])
def test_masked_pixels_are_no_data(segmenter, image, kind):
    classes = segmenter.sample(masks(image)[kind], 2).class_map
    assert (classes[:, :8] == NO_DATA).all() and (classes[:, 8:] != NO_DATA).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.tolist(),
        lambda image: image.astype(">f4"),
        lambda image: image.astype("f8"),
        lambda image: image.astype(np.longdouble),
        lambda image: image.astype(object),
        np.asfortranarray,
        lambda image: np.ma.masked_array(image),
        lambda image: Quantity(image, "electron"),
        lambda image: Quantity(image.astype("f8") / 1000, "kelectron"),
        lambda image: Quantity(image, ""),
    ],
)
def test_arrays_of_any_kind_give_the_same(segmenter, image, change):
    whole = np.round(image)
    with set_enabled_units([def_unit("kelectron", 1000 * electron), electron]):
        found = segmenter.sample(change(whole), 2)
    np.testing.assert_allclose(found.probabilities, segmenter.sample(whole, 2).probabilities, atol=1e-4)


@pytest.mark.parametrize("kind", [np.float16, np.int16, np.uint16, np.int64, bool])
def test_any_real_type(segmenter, kind):
    assert segmenter.sample(np.ones((9, 9), kind), 1).class_map.shape == (9, 9)


@pytest.mark.parametrize("image", [Quantity(np.ones((9, 9)), "adu"), CCDData(np.ones((9, 9)), unit="Jy")])
def test_another_unit_is_refused(segmenter, image):
    with pytest.raises(DataError, match="image: received the unit (adu|Jy); allowed: electron. Convert it"):
        segmenter.sample(image)


def test_pickled_it_is_loaded_again(segmenter, image):
    again = pickle.loads(pickle.dumps(segmenter))
    assert again.tile == segmenter.tile and again.path == segmenter.path
    np.testing.assert_array_equal(again.sample(image, 2).samples, segmenter.sample(image, 2).samples)


def test_a_forked_child_gets_a_message(segmenter, image):
    """Where TensorFlow would hang: using the model, and loading one there."""
    calls = (
        lambda: segmenter.sample(image, 1),
        lambda: Segmenter.load(segmenter.path),
    )
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for call in calls:
            try:
                call()
            except ModelError as error:
                os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    text = os.read(read, 10_000).decode()
    os.close(read)
    assert text.count("forked from one that had loaded a model") == 2 and text.count('get_context("spawn")') == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_samples": 0}, "num_samples: received 0; allowed: at least 1"),
        ({"seed": -1}, "seed: received -1; allowed: at least 0"),
    ],
)
def test_bad_options(segmenter, image, options, message):
    with pytest.raises(ConfigError, match=message):
        segmenter.sample(image, **options)


def test_tile_that_is_too_small(pushed):
    with pytest.raises(ConfigError, match="tile: received 1; allowed: at least 2 pixels"):
        Segmenter.load(pushed, tile=1)


def test_no_model(tmp_path):
    with pytest.raises(ModelError, match="there is no SavedModel here. Give the folder of a pushed version, or run"):
        Segmenter.load(tmp_path)


def altered(pushed, tmp_path, change):
    folder = tmp_path / "1"
    shutil.copytree(pushed / "1700000000", folder)
    change(folder)
    return folder


def edit_facts(**values):
    def change(folder):
        facts = json.loads((folder / FIELD_FILE).read_text())
        (folder / FIELD_FILE).write_text(json.dumps({**facts, **values}))

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: (folder / FIELD_FILE).unlink(), "has no signature 'sample_with_noise'.*Run the pipeline again"),
        (lambda folder: (folder / FIELD_FILE).write_text("{"), "field.json: this file cannot be read"),
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"x"), "this SavedModel cannot be loaded"),
        (lambda folder: (folder / FIELD_FILE).write_text("[1]"), "field.json: received format None; allowed: 2"),
        (edit_facts(format=9), "field.json: received format 9; allowed: 2"),
        (edit_facts(latent="global"), "model.latent is global: one latent for a whole stamp has no meaning on a field"),
    ],
)
def test_models_that_cannot_segment_fields(pushed, tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        Segmenter.load(altered(pushed, tmp_path, change))


def test_model_without_the_signature(pushed, tmp_path):
    import tensorflow as tf

    folder = altered(pushed, tmp_path, lambda folder: None)
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "bare"), signatures={"sample": module.f})
    (folder / "saved_model.pb").write_bytes((tmp_path / "bare" / "saved_model.pb").read_bytes())
    shutil.rmtree(folder / "variables")
    shutil.copytree(tmp_path / "bare" / "variables", folder / "variables")
    with pytest.raises(ModelError, match="has no signature 'sample_with_noise'"):
        Segmenter.load(folder)


def example_of_the_documentation():
    """The first Python block of docs/segmentation.md."""
    text = (ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8")
    return text.split("```python\n", 1)[1].split("```", 1)[0]


def test_documented_example_runs_with_tensorflow_and_numpy_alone(pushed, image, tmp_path):
    """In a fresh process in which everything else of the stack cannot be imported."""
    np.save(tmp_path / "image.npy", image)
    shutil.copytree(pushed, tmp_path / "output" / "serving" / "blendinator")
    example = example_of_the_documentation()
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    blocked = (
        "tfx tensorflow_transform tfx_bsl tensorflow_probability tensorflow_data_validation apache_beam "
        "tf_keras scipy matplotlib astropy sep yaml ml_metadata"
    )
    script = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked.split()!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT)!r})
{example}
assert maps.samples.shape == (16, {image.shape[0]}, {image.shape[1]})
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip()
