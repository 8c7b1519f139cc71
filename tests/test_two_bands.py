"""A second band, from the record to a segmented field. The simulator renders one, so these scenes are made here."""

import dataclasses
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from blendinator.components.calibration_evaluator.scoring import ClassicalBaseline, Sampler, score_batch
from blendinator.components.export_check import signatures
from blendinator.config import Config, EvaluationConfig, ModelConfig, SimulationConfig, TrainingConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import records, survey
from blendinator.data.tfrecords import frame_record
from blendinator.errors import DataError, ModelError
from blendinator.model import copula, input_data, trainer, warm_start
from blendinator.model.client import Segmenter
from blendinator.model.export import WEIGHTS_FILE
from blendinator.model.field.segment import segment
from blendinator.model.live import FACTS_FILE, FIELD_FILE
from blendinator.model.maps import NO_DATA
from blendinator.model.preprocessing import preprocessing_fn
from blendinator.model.serving_warmup import warmup_requests
from blendinator.pipeline.predictions import parse
from blendinator.schemas.schema import load_schema

SIDE = 32
SIGMA = np.array([26.0, 5.0], np.float32)
CONFIG = dataclasses.replace(
    Config(),
    simulation=SimulationConfig(survey="lsst_i", stamp_size=SIDE),
    model=ModelConfig(channels=(4, 6), convs_per_block=1, head_channels=4, head_layers=2, latent_dim=2),
    training=TrainingConfig(
        steps=3, batch_size=4, evaluate_every=3, evaluation_scenes=4, precision="float32", deterministic_share=0.0
    ),
)


def make_scene(number: int) -> dict:
    """A round galaxy, three times as bright in the first band."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    y, x = rng.uniform(6, SIDE - 6, 2)
    light = 300 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)[..., None] * np.array([1.0, 1 / 3])
    return {
        "image": (light + rng.normal(size=light.shape) * SIGMA).astype(np.float32),
        "noise_free": light.astype(np.float32),
        "mask": (light[..., 0] > SIGMA[0]).astype(np.int64),
        "scene_id": f"1:{number}",
        "population": "natural",
        "num_galaxies": 1,
        "min_separation": -1.0,
        "brightest_magnitude": 22.0,
        "magnitude_difference": -1.0,
        "snr": 30.0,
        "blended_share": 0.0,
        "sky_sigma": SIGMA,
        "psf_fwhm": 0.7,
        "noise_correlation": 0.0,
        "num_stars": 0,
        "brightest_star": 99.0,
    }


SCENES = [make_scene(number) for number in range(24)]
IMAGES = np.stack([scene["image"] for scene in SCENES])


@pytest.fixture(scope="module", autouse=True)
def two_bands():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(survey.PRESETS, "lsst_i", ("LSST", ("i", "r"), 1, 0.0, 1, 2.0e7))
        patch.setattr(copula, "_STEPS", 2)
        yield


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """TensorFlow Transform's output."""
    folder = tmp_path_factory.mktemp("transform")
    spec = {"image": records.feature_spec(SIDE, 2)["image"]}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    with tft_beam.Context(temp_dir=str(folder / "tmp")):
        transform_fn = ([{"image": image} for image in IMAGES], metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
    return str(folder / "graph")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The scenes as gzipped TFRecords."""
    path = tmp_path_factory.mktemp("scenes")
    with gzip.open(path / "span-0001-train.gz", "wb") as file:
        file.write(b"".join(frame_record(records.encode(scene)) for scene in SCENES))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory, folder, graph):
    """What the Trainer exports after three steps."""
    path = tmp_path_factory.mktemp("model")
    config = dataclasses.replace(CONFIG, output_dir=str(path / "output"))
    custom = {"config": json.dumps(config_to_dict(config)), "code": "c", "data": "d"}
    trainer.run_fn(
        SimpleNamespace(
            custom_config=custom,
            train_steps=0,
            train_files=[str(folder / "*.gz")],
            eval_files=[str(folder / "*.gz")],
            transform_graph_path=graph,
            base_model=None,
            serving_model_dir=str(path / "model"),
            model_run_dir=str(path / "log"),
        )
    )
    return path / "model"


def test_record_schema_and_parser_agree():
    decoded = records.decode(records.encode(SCENES[0]))
    records.check(decoded, SIDE, bands=2)
    for name in ("image", "noise_free", "mask", "sky_sigma"):
        np.testing.assert_array_equal(decoded[name], SCENES[0][name])
    first, sky_sigma = records.first_band(decoded)
    assert sky_sigma == 26.0 and np.array_equal(first, IMAGES[0, :, :, 0])
    by_schema = schema_utils.schema_as_feature_spec(load_schema(SIDE, 2)).feature_spec
    assert {name: (tuple(one.shape), one.dtype) for name, one in by_schema.items()} == {
        name: (one.shape, one.dtype) for name, one in records.feature_spec(SIDE, 2).items()
    }
    assert by_schema["image"].shape == [32, 32, 2] and by_schema["mask"].shape == [32, 32]
    assert by_schema["sky_sigma"].shape == [2] and by_schema["snr"].shape == []


def test_scenes_are_loaded_with_both_bands(folder):
    scenes = input_data.load_scenes([str(folder / "*.gz")], SIDE, folder, bands=2)
    np.testing.assert_array_equal(scenes.image, IMAGES)
    np.testing.assert_array_equal(scenes.sky_sigma, np.tile(SIGMA, (24, 1)))
    assert scenes.mask.shape == (24, 32, 32)


def test_each_band_is_divided_by_its_own_sigma(graph):
    normalise = input_data.load_normalise(graph)
    found = warm_start.normalisation_scale(normalise, SIDE, 2)
    np.testing.assert_allclose(found, SIGMA, rtol=0.15)  # the galaxies widen it a little
    np.testing.assert_allclose(normalise(IMAGES), np.arcsinh(IMAGES / np.float32(found)), rtol=1e-4, atol=1e-5)


def test_fresh_noise_has_the_sigma_of_its_band_and_differs_between_bands():
    clean = dataclasses.replace(
        input_data.observing.DEFAULT,
        **dict.fromkeys(("background_error", "oversubtraction", "depth_edge_share", "residue_share"), 0.0),
        no_data_share=0.0,
    )
    light = tf.constant(np.broadcast_to(np.float32([100.0, 0.0]), (50, 32, 32, 2)))
    seed = tf.constant([1, 2], tf.int64)
    image = input_data.observe_again(light, tf.constant(np.tile(SIGMA, (50, 1))), tf.zeros([50]), seed, clean).numpy()
    np.testing.assert_allclose(image.mean(axis=(0, 1, 2)), [100.0, 0.0], atol=0.5)
    np.testing.assert_allclose(image.var(axis=(0, 1, 2)), [26.0**2 + 100.0, 25.0], rtol=0.03)
    assert abs(np.corrcoef(image.reshape(-1, 2).T)[0, 1]) < 0.02


def test_turns_keep_bands_and_mask_together():
    image = tf.reshape(tf.range(32.0), [1, 4, 4, 2])
    image = tf.repeat(image, 100, axis=0)
    turned, mask = input_data.flip_and_rotate([image, image[..., 1]], tf.constant([1, 2]))
    np.testing.assert_array_equal(turned[..., 1], mask)
    np.testing.assert_array_equal(turned[..., 0], mask - 1)


def test_the_export_tells_its_bands(model):
    assert json.loads((model / FACTS_FILE).read_text())["sky_sigma"] == pytest.approx(SIGMA, rel=0.15)
    assert json.loads((model / FIELD_FILE).read_text())["survey"]["bands"] == ["i", "r"]
    signature = tf.saved_model.load(str(model)).signatures["sample"]
    assert signature.structured_input_signature[1]["image"].shape.as_list() == [None, None, None, 2]
    fresh = trainer.build_model(CONFIG)
    fresh.load_weights(model / WEIGHTS_FILE)
    assert fresh.unet.get_layer("down0_conv0").kernel.shape == [3, 3, 2, 4]


def test_all_signatures_pass_the_export_check(model, tmp_path):
    stored = tmp_path / "records.tfrecord"
    stored.write_bytes(b"".join(frame_record(records.encode(scene)) for scene in SCENES[:3]))
    seed, draws = CONFIG.evaluation.seed, CONFIG.evaluation.num_samples
    signatures.main(str(model), str(stored), str(tmp_path / "report"), str(tmp_path / "answers.npz"), SIDE, draws, seed)
    checks = json.loads((tmp_path / "report").read_text())["checks"]
    assert len(checks) > 30 and [check for check in checks if not check["passed"]] == []


def test_a_server_answers_the_warm_up_requests(model):
    loaded = tf.saved_model.load(str(model))
    for request in warmup_requests(SIDE, 2, bands=2):
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        out = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert out["probabilities"].shape == [1, 32, 32, 3]


def test_the_second_band_reaches_the_samples_of_the_evaluation(model):
    sampler = Sampler(str(model))
    assert sampler.bands == 2
    samples, probabilities = sampler.sample(IMAGES[:2], 3, 1, ["natural", "boosted"])
    assert samples.shape == (2, 3, 32, 32) and probabilities.shape == (2, 32, 32, 3)
    for band in (0, 1):
        changed = IMAGES[:2].copy()
        changed[..., band] = 0.0
        assert np.abs(sampler.sample(changed, 3, 1)[1] - probabilities).max() > 1e-3
    with pytest.raises(DataError, match=r"images: received the shape \[2, 32, 32, 1\]; allowed: \[B, H, W, 2\]"):
        sampler.sample(IMAGES[:2, ..., :1], 3, 1)
    settings = EvaluationConfig(num_samples=2)
    for method in (sampler, ClassicalBaseline(settings.classical)):
        rows = score_batch(SCENES[:2], method, settings)
        np.testing.assert_array_equal(rows["sky_sigma"], [26.0, 26.0])


def test_a_stamp_to_predict(model):
    serialized = records.encode(SCENES[3])
    scene_id, image = parse(serialized, "here", bands=2)
    assert scene_id == "1:3" and np.array_equal(image, IMAGES[3])
    with pytest.raises(DataError, match="image has 2048 values; allowed: a square of pixels in 3 bands, those of the"):
        parse(serialized, "here", bands=3)


def test_a_field(model):
    """Tiles give what one pass gives; both bands count; a pixel that lacks one band has no results."""
    rng = np.random.default_rng(1)
    field = rng.normal(size=(40, 50, 2)) * SIGMA
    field[15:22, 20:30] += np.array([400.0, 130.0])
    whole, tiled = (Segmenter.load(model, tile=tile).sample(field, 2, 1) for tile in (4096, 16))
    assert whole.samples.shape == (2, 40, 50) and whole.probabilities.shape == (40, 50, 3)
    np.testing.assert_allclose(tiled.probabilities, whole.probabilities, atol=1e-5)
    assert np.mean(tiled.samples != whole.samples) < 1e-3
    segmenter = Segmenter.load(model)
    other = segmenter.sample(field * [1.0, 0.0], 2, 1)
    assert np.abs(other.probabilities - whole.probabilities).max() > 1e-3
    field[3, 4, 1] = np.nan
    holed = segmenter.sample(field, 2, 1)
    assert (holed.samples == NO_DATA).sum() == 2 and holed.class_map[3, 4] == NO_DATA
    masked = segmenter.sample(np.ma.MaskedArray(field, np.isnan(field)), 2, 1)
    np.testing.assert_array_equal(masked.class_map, holed.class_map)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (40, 50, 1)])
def test_a_field_of_other_bands(model, shape):
    with pytest.raises(
        DataError, match=r"received float64 of shape \[40, 50.*\]; allowed: an array \[H, W, 2\] of real"
    ):
        Segmenter.load(model).sample(np.zeros(shape))


def test_a_field_from_a_file_has_one_band(model):
    message = (
        r"this model takes images of 2 bands, and a field's file is read as one. Call Segmenter.sample with an image"
    )
    with pytest.raises(ModelError, match=message):
        segment(Segmenter.load(model), SimpleNamespace(shape=(40, 50)), [], 2, 1)
