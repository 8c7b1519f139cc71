"""The SavedModel's signatures, called as a user would: reloaded, by name, on raw electrons."""

import json

import numpy as np
import pytest
import tensorflow as tf

from blendinator.model import sampling
from blendinator.model.export import WEIGHTS_FILE, export
from blendinator.model.live import FACTS_FILE, FIELD_FILE
from blendinator.model.preprocessing import NORMALISED
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.serving_warmup import WARMUP_FILE, predict_request

CALIBRATION = {
    "population": "natural",
    "populations": {
        "natural": {"temperature": 1.0, "class_offsets": [0.0, 0.0, 0.0], "scenes": 20},
        "boosted": {"temperature": 2.0, "class_offsets": [0.0, 0.0, 3.0], "scenes": 10},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config, transform_output):
    path = tmp_path_factory.mktemp("export") / "model"
    export(
        ProbaUNet(tiny_config.model, seed=1),
        transform_output,
        str(path),
        default_draws=4,
        default_seed=1,
        stamp_size=16,
        facts={"steps": 8, "calibration": CALIBRATION},
    )
    return path


@pytest.fixture(scope="module")
def images(scenes):
    """As the signatures take images of one band: [B, H, W]."""
    return scenes.image[..., 0]


@pytest.fixture(scope="module")
def signatures(folder):
    loaded = tf.saved_model.load(str(folder))
    yield loaded.signatures  # noqa: PT022 the model must outlive them


def sample(signatures, image, n=5, seed=(1, 2)):
    return signatures["sample"](image=tf.constant(image), num_samples=tf.constant(n), seed=tf.constant(seed, tf.int32))


def test_sample(signatures, images):
    out = sample(signatures, images[:3])
    assert out["samples"].shape == [3, 5, 16, 16] and out["samples"].dtype == tf.uint8
    assert int(tf.reduce_max(out["samples"])) <= 2
    np.testing.assert_allclose(tf.reduce_sum(out["probabilities"], axis=-1), 1.0, atol=1e-5)


def at_odds(signatures, image, temperature, class_offsets):
    return signatures["sample_with_odds"](
        image=tf.constant(image),
        num_samples=tf.constant(5),
        seed=tf.constant([1, 2]),
        temperature=tf.constant(temperature),
        class_offsets=tf.constant(class_offsets),
    )


def test_sample_with_odds(signatures, images):
    """With the model's own odds the samples are those of `sample`; a large offset makes every source a blend."""
    ours, usual = (at_odds(signatures, images[:2], 1.0, [0.0] * 3), sample(signatures, images[:2]))
    for name, value in usual.items():
        np.testing.assert_array_equal(ours[name], value)
    blended = at_odds(signatures, images[:2], 1.0, [0.0, 0.0, 50.0])
    np.testing.assert_array_equal(blended["samples"], 2)


def test_tiles_have_the_odds_that_they_are_given(signatures, images, noise):
    natural, boosted = (with_noise(signatures, images[:2], noise, odds=odds) for odds in ("natural", "boosted"))
    assert (boosted["probabilities"][..., 2] > natural["probabilities"][..., 2]).numpy().all()


def test_same_seed_same_samples_other_seed_other_samples(signatures, images):
    first, again, other = (sample(signatures, images[:3], seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first["samples"], again["samples"])
    assert np.mean(first["samples"] != other["samples"]) > 0.01
    assert np.abs(first["probabilities"] - other["probabilities"]).max() > 0


def test_the_samples_of_an_image_do_not_depend_on_its_batch(signatures, images):
    batch, alone = sample(signatures, images[:3]), sample(signatures, images[1:2])
    np.testing.assert_allclose(batch["probabilities"][1], alone["probabilities"][0], atol=1e-6)
    # A pixel between two classes may fall on the other side when sums are rounded otherwise.
    assert np.mean(batch["samples"][1] != alone["samples"][0]) < 1e-3


def test_serving_default(signatures, images):
    out = signatures["serving_default"](image=tf.constant(images[:2]))
    assert {name: (value.shape, value.dtype) for name, value in out.items()} == {
        "class_map": ([2, 16, 16], tf.uint8),
        "probabilities": ([2, 16, 16, 3], tf.float32),
        "entropy": ([2, 16, 16], tf.float32),
        "mutual_information": ([2, 16, 16], tf.float32),
    }
    p = out["probabilities"].numpy()
    np.testing.assert_array_equal(out["class_map"], p.argmax(axis=-1))
    np.testing.assert_allclose(out["entropy"], -(p * np.log(p)).sum(axis=-1), atol=1e-5)
    assert np.all(out["mutual_information"].numpy() >= 0)
    assert np.all(out["mutual_information"] <= out["entropy"] + 1e-5)


def test_from_examples_equals_serving_default(signatures, images):
    records = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"image": tf.train.Feature(float_list=tf.train.FloatList(value=image.ravel()))}
            )
        ).SerializeToString()
        for image in images[:2]
    ]
    expected = signatures["serving_default"](image=tf.constant(images[:2]))
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
    assert json.loads((folder / FACTS_FILE).read_text()) == {"steps": 8, "calibration": CALIBRATION}


@pytest.fixture(scope="module")
def noise(tiny_config):
    """Latent noise and the lattices of each scale for two images of 16 x 16 pixels, three draws."""
    lattices = []
    for k, scale in enumerate(tiny_config.model.sample_scales):
        points = int(sampling.lattice_side(16, scale))
        lattices.append(tf.random.stateless_normal([2, 3, sampling.CLASS_FIELDS, points, points], [3, k]))
    return tf.random.stateless_normal([2, 3, 8, 8, tiny_config.model.latent_dim], [1, 2]), lattices


def with_noise(signatures, image, noise, margins=(0, 0, 0, 0), offset=(0.0, 0.0), odds="natural"):
    found = CALIBRATION["populations"][odds]
    return signatures["sample_with_noise"](
        image=image,
        latent_noise=noise[0],
        lattice_offset=tf.constant([offset] * len(noise[1])),
        margins=tf.constant(margins, tf.int32),
        temperature=tf.constant(found["temperature"]),
        class_offsets=tf.constant(found["class_offsets"]),
        **{f"class_noise_{k}": lattice for k, lattice in enumerate(noise[1])},
    )


def test_sample_with_noise_is_what_the_network_draws_from_that_noise(
    signatures, images, noise, tiny_config, transform_output
):
    """The same as `probaunet.draw`, step by step."""
    image = tf.constant(images[:2])
    out = with_noise(signatures, image, noise)
    model = ProbaUNet(tiny_config.model, seed=1)
    features, prior = model.features(transform_output.transform_raw_features({"image": image[..., None]})[NORMALISED])
    probabilities = tf.nn.softmax(model.draw_logits(features, prior, noise[0]))
    fields = sampling.mixed_field(noise[1], model.field_weights(features), [16, 16], tiny_config.model.sample_scales)
    np.testing.assert_allclose(out["probabilities"], tf.reduce_mean(probabilities, axis=1), atol=1e-5)
    assert np.mean(out["samples"] != sampling.draw_classes(probabilities, fields)) < 1e-3
    p = out["probabilities"].numpy()
    np.testing.assert_array_equal(out["class_map"], p.argmax(axis=-1))
    np.testing.assert_allclose(out["entropy"], -(p * np.log(p)).sum(axis=-1), atol=1e-5)
    assert np.all(out["mutual_information"].numpy() >= 0)


def test_margins_are_context_only(signatures, images, noise):
    """The whole image and its lower right part, cut out by margins: the same draws, of another lattice's offset."""
    image = tf.constant(images[:2])
    whole, part = with_noise(signatures, image, noise), with_noise(signatures, image, noise, (6, 0, 4, 2), (6.0, 4.0))
    for name in ("samples", "probabilities", "entropy", "mutual_information", "class_map"):
        cut = whole[name][..., 6:16, 4:14] if name != "probabilities" else whole[name][:, 6:16, 4:14]
        np.testing.assert_allclose(part[name].numpy().astype(float), cut.numpy().astype(float), atol=1e-6)


@pytest.mark.parametrize("margins", [(1, 0, 0, 0), (0, 0, -2, 0)])
def test_margins_off_the_lattice_are_refused(signatures, images, noise, margins):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`margins` must be multiples of 2, from 0"):
        with_noise(signatures, tf.constant(images[:2]), noise, margins)


def test_facts_for_fields(folder):
    facts = json.loads((folder / FIELD_FILE).read_text())
    assert (facts["downsampling"], facts["receptive_radius"], facts["latent_dim"], facts["stamp_size"]) == (2, 6, 2, 16)
    assert "survey" not in facts  # these facts of the training name none
    assert facts["population"] == "natural" and facts["sample_scales"] == [3.0, 9.0, 27.0, 81.0]
    assert facts["odds"]["boosted"] == {"temperature": 2.0, "class_offsets": [0.0, 0.0, 3.0]}


def warmup_requests(folder):
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        yield prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request


def test_warmup_requests_can_be_answered(folder, signatures):
    """As TensorFlow Serving replays them: each request's tensors go to the signature that it names."""
    seen = set()
    for request in warmup_requests(folder):
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        out = signatures[request.model_spec.signature_name](**inputs)
        assert request.model_spec.name == "blendinator" and all(len(value) == 1 for value in out.values())
        seen.add(request.model_spec.signature_name)
    assert seen == {"serving_default", "sample", "from_examples"}


def test_grpc_request_names_model_version_and_signature():
    request = predict_request("sample", {"num_samples": np.int32(3)}, version=17)
    again = type(request).FromString(request.SerializeToString())
    spec = again.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("blendinator", 17, "sample")
    assert tf.make_ndarray(again.inputs["num_samples"]) == 3
