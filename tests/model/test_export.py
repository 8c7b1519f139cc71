"""The SavedModel's signatures, called as a user would: reloaded, by name, on raw electrons."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model.export import FACTS_FILE, WEIGHTS_FILE, export
from model.probaunet import ProbaUNet


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config, transform_output):
    path = tmp_path_factory.mktemp("export") / "model"
    export(ProbaUNet(tiny_config.model, seed=1), transform_output, str(path), default_draws=4, default_seed=1,
           stamp_size=16, facts={"steps": 8})
    return path


@pytest.fixture(scope="module")
def signatures(folder):
    loaded = tf.saved_model.load(str(folder))
    yield loaded.signatures


def sample(signatures, image, n=5, seed=(1, 2)):
    return signatures["sample"](image=tf.constant(image), num_samples=tf.constant(n), seed=tf.constant(seed, tf.int32))


def test_sample(signatures, scenes):
    out = sample(signatures, scenes.image[:3])
    assert out["samples"].shape == [3, 5, 16, 16] and out["samples"].dtype == tf.uint8
    assert int(tf.reduce_max(out["samples"])) <= 2
    np.testing.assert_allclose(tf.reduce_sum(out["probabilities"], axis=-1), 1.0, atol=1e-5)


def test_same_seed_same_samples_other_seed_other_samples(signatures, scenes):
    first, again, other = (sample(signatures, scenes.image[:3], seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first["samples"], again["samples"])
    assert np.abs(first["probabilities"] - other["probabilities"]).max() > 0


def test_the_samples_of_an_image_do_not_depend_on_its_batch(signatures, scenes):
    batch, alone = sample(signatures, scenes.image[:3]), sample(signatures, scenes.image[1:2])
    np.testing.assert_allclose(batch["probabilities"][1], alone["probabilities"][0], atol=1e-6)


def test_serving_default(signatures, scenes):
    out = signatures["serving_default"](image=scenes.image[:2])
    assert {name: (value.shape, value.dtype) for name, value in out.items()} == {
        "class_map": ([2, 16, 16], tf.uint8), "probabilities": ([2, 16, 16, 3], tf.float32),
        "entropy": ([2, 16, 16], tf.float32), "mutual_information": ([2, 16, 16], tf.float32)}
    p = out["probabilities"].numpy()
    np.testing.assert_array_equal(out["class_map"], p.argmax(axis=-1))
    np.testing.assert_allclose(out["entropy"], -(p * np.log(p)).sum(axis=-1), atol=1e-5)
    assert np.all(out["mutual_information"].numpy() >= 0)
    assert np.all(out["mutual_information"] <= out["entropy"] + 1e-5)


def test_from_examples_equals_serving_default(signatures, scenes):
    records = [tf.train.Example(features=tf.train.Features(feature={
        "image": tf.train.Feature(float_list=tf.train.FloatList(value=image.numpy().ravel()))})).SerializeToString()
        for image in scenes.image[:2]]
    expected = signatures["serving_default"](image=scenes.image[:2])
    got = signatures["from_examples"](examples=tf.constant(records))
    for name, value in expected.items():
        np.testing.assert_allclose(value, got[name], atol=1e-6)


def test_other_sizes_from_the_same_weights(signatures):
    assert sample(signatures, np.zeros((1, 48, 32), "f4"))["samples"].shape == [1, 5, 48, 32]


def test_a_size_that_the_network_cannot_halve_is_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be multiples of 2"):
        sample(signatures, np.zeros((1, 15, 16), "f4"))


def test_no_samples_are_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_samples.* must be at least 1"):
        sample(signatures, np.zeros((1, 16, 16), "f4"), n=0)


def test_weights_and_facts_lie_beside_the_graph(folder, tiny_config):
    other = ProbaUNet(tiny_config.model, seed=2)
    other.load_weights(folder / WEIGHTS_FILE)
    for expected, got in zip(ProbaUNet(tiny_config.model, seed=1).get_weights(), other.get_weights()):
        np.testing.assert_array_equal(expected, got)
    assert json.loads((folder / FACTS_FILE).read_text()) == {"steps": 8}
