import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from tfx.types import artifact_utils, standard_artifacts

from blendinator.components.calibration_evaluator import executor, scoring
from blendinator.components.calibration_evaluator.component import CalibrationEvaluator
from blendinator.config import Config, EvaluationConfig, SimulationConfig, ThresholdConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import records
from blendinator.errors import ConfigError, DataError, ModelError

SIZE = 32
EASY = (ThresholdConfig("iou_galaxy", "boosted", min=0.5),)
HARD = (ThresholdConfig("iou_galaxy", "boosted", min=0.999),)


def make_config(thresholds=EASY, batch_size=4):
    return dataclasses.replace(
        Config(),
        simulation=dataclasses.replace(SimulationConfig(), stamp_size=SIZE),
        evaluation=dataclasses.replace(
            EvaluationConfig(),
            num_samples=4,
            batch_size=batch_size,
            thresholds=thresholds,
            min_scenes=2,
            bootstrap_replicates=20,
            gallery_scenes=3,
        ),
    )


def make_scene(number, population):
    rng = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), np.int64)
    y, x = rng.integers(4, SIZE - 16, 2)
    mask[y : y + 8, x : x + 8] += 1
    mask[y + 4 : y + 12, x + 4 : x + 12] += 1
    noise_free = (mask * 100)[..., None].astype(np.float32)
    return {
        "image": noise_free + rng.normal(0, 25, noise_free.shape).astype(np.float32),
        "noise_free": noise_free,
        "mask": mask,
        "scene_id": f"1:{number}",
        "population": population,
        "num_galaxies": 2,
        "min_separation": 0.5 + number / 100,
        "brightest_magnitude": 22.0,
        "magnitude_difference": 0.5,
        "snr": 20.0,
        "blended_share": (mask == 2).mean(),
        "sky_sigma": 25.0,
        "psf_fwhm": 0.16,
        "noise_correlation": 0.0,
        "num_stars": 1,
        "brightest_star": 21.5,
    }


@pytest.fixture(scope="module")
def model_artifact(tmp_path_factory):
    """A SavedModel with the signature `sample` that classifies by the pixel's flux, with noise."""
    import tensorflow as tf

    from blendinator.model.sampling import image_noise

    class Fake(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None], tf.float32, "image"),
                tf.TensorSpec([], tf.int32, "num_samples"),
                tf.TensorSpec([2], tf.int32, "seed"),
            ]
        )
        def sample(self, image, num_samples, seed):
            (noise,) = image_noise(image, num_samples, [tf.shape(image)[1:]], seed)
            flux = image[:, None] + 10.0 * noise
            samples = tf.cast(flux > 50, tf.uint8) + tf.cast(flux > 150, tf.uint8)
            return {"samples": samples, "probabilities": tf.reduce_mean(tf.one_hot(samples, 3), 1)}

    artifact = standard_artifacts.Model()
    artifact.uri, artifact.id = str(tmp_path_factory.mktemp("model")), 17
    fake = Fake()
    tf.saved_model.save(fake, os.path.join(artifact.uri, "Format-Serving"), signatures={"sample": fake.sample})
    return artifact


def write_examples(folder, files):
    """An Examples artifact with the split `test`; `files` holds lists of serialized records."""
    import tensorflow as tf

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(["train", "test"])
    split = artifact_utils.get_split_uri([artifact], "test")
    os.makedirs(split)
    for i, serialized in enumerate(files):
        path = f"{split}/data_tfrecord-{i:05d}-of-{len(files):05d}.gz"
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            for item in serialized:
                writer.write(item)
    return artifact


SCENES = [make_scene(i, "boosted" if i % 2 else "natural") for i in range(11)]


@pytest.fixture(scope="module")
def serialized():
    return [records.encode(scene) for scene in SCENES]


def run(tmp_path, examples, model_artifact, config, beam_args=(), live=None):
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(tmp_path / "evaluation"), str(tmp_path / "blessing")
    context = executor.Executor.Context(tmp_dir=str(tmp_path), unique_id="1", beam_pipeline_args=list(beam_args))
    executor.Executor(context).Do(
        {"examples": [examples], "model": [model_artifact]} | ({"baseline_model": [live]} if live else {}),
        {"evaluation": [evaluation], "blessing": [blessing]},
        {"config": json.dumps(config_to_dict(config)), "code": ""},
    )
    return evaluation, blessing


@pytest.mark.parametrize("thresholds, blessed", [(EASY, 1), (HARD, 0)])
def test_evaluation_and_blessing(tmp_path, serialized, model_artifact, thresholds, blessed):
    examples = write_examples(tmp_path / "examples", [serialized[:5], serialized[5:]])
    _, blessing = run(tmp_path, examples, model_artifact, make_config(thresholds))
    report = json.loads((tmp_path / "evaluation" / executor.METRICS).read_text())
    assert report["scenes_evaluated"] == report["records_read"] == 11
    assert report["blessed"] is bool(blessed)
    assert report["populations"]["boosted"]["scenes"] == 5 and report["populations"]["natural"]["scenes"] == 6
    iou = report["populations"]["boosted"]["metrics"]["iou_galaxy"]
    assert 0.7 < iou["low"] <= iou["value"] <= iou["high"] < 0.999
    assert report["thresholds"][0]["value"] == iou["value"]
    assert (tmp_path / "evaluation" / executor.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert blessing.get_int_custom_property("blessed") == blessed
    assert blessing.get_int_custom_property("current_model_id") == 17
    assert blessing.get_string_custom_property("current_model") == model_artifact.uri
    assert os.listdir(blessing.uri) == ["BLESSED" if blessed else "NOT_BLESSED"]


def test_the_result_does_not_depend_on_files_batches_or_order(tmp_path, serialized, model_artifact):
    found, pieces = [], [serialized[7:], serialized[2:7], serialized[:2]]
    for i, (files, batch_size) in enumerate((([serialized], 32), (pieces, 2))):
        folder = tmp_path / str(i)
        examples = write_examples(folder / "examples", files)
        run(folder, examples, model_artifact, make_config(batch_size=batch_size))
        found.append(executor.read_scenes(str(folder / "evaluation"), scoring.CANDIDATE))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)


@pytest.mark.parametrize("pushed", [False, True])
def test_a_live_model_is_evaluated_on_the_same_scenes(tmp_path, serialized, model_artifact, pushed):
    live = standard_artifacts.Model()
    live.uri = os.path.join(model_artifact.uri, "Format-Serving") if pushed else model_artifact.uri
    examples = write_examples(tmp_path / "examples", [serialized])
    run(tmp_path, examples, model_artifact, make_config(), live=live)
    report = json.loads((tmp_path / "evaluation" / executor.METRICS).read_text())
    assert [rule["metric"] for rule in report["relative"]] == ["iou_blended", "nll_near_sources", "ged"]
    assert {rule["value"] for rule in report["relative"]} == {0.0}  # the same model, seeds and scenes
    assert report["live"] == report["populations"]
    assert report["blessed"]


def test_the_classical_peer_can_be_left_out(tmp_path, serialized, model_artifact):
    examples = write_examples(tmp_path / "examples", [serialized[:3]])
    config = make_config()
    without = dataclasses.replace(config.evaluation.classical, enabled=False)
    off = dataclasses.replace(config.evaluation, classical=without)
    for folder, settings in (("with", config), ("without", dataclasses.replace(config, evaluation=off))):
        run(tmp_path / folder, examples, model_artifact, settings)
        report = json.loads((tmp_path / folder / "evaluation" / executor.METRICS).read_text())
        assert ("classical" in report) is (folder == "with")
    report = json.loads((tmp_path / "with" / "evaluation" / executor.METRICS).read_text())
    metrics = report["classical"]["natural"]["metrics"]
    assert metrics["iou_galaxy"]["value"] > 0.2
    assert "nll" not in metrics  # it gives no probabilities


def test_the_rows_carry_the_scalars(tmp_path, serialized, model_artifact):
    examples = write_examples(tmp_path / "examples", [serialized])
    run(tmp_path, examples, model_artifact, make_config())
    rows = executor.read_scenes(str(tmp_path / "evaluation"), scoring.CANDIDATE)
    by_name = {scene["scene_id"]: scene for scene in SCENES}
    for i, name in enumerate(rows["scene_id"]):
        assert rows["min_separation"][i] == pytest.approx(by_name[name]["min_separation"])
        assert rows["population"][i] == by_name[name]["population"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mask": np.full((SIZE, SIZE), 3)}, r"record 1 \(scene 1:0\): mask holds the values \[3\]"),
        ({"image": np.zeros((SIZE, SIZE + 1))}, "record 1.*image has shape"),
        ({"image": np.full((SIZE, SIZE), np.nan)}, r"record 1 \(scene 1:0\): 1024 pixels of image are NaN"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, serialized, model_artifact, changes, message):
    examples = write_examples(tmp_path / "examples", [[serialized[1], records.encode(SCENES[0] | changes)]])
    with pytest.raises(DataError, match=message):
        run(tmp_path, examples, model_artifact, make_config())


def test_a_truncated_file_is_named(tmp_path, serialized, model_artifact):
    examples = write_examples(tmp_path / "examples", [serialized])
    path = executor.list_files([examples])[0]
    content = Path(path).read_bytes()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"data_tfrecord-00000-of-00001.gz: record \d+ cannot be read"):
        run(tmp_path, examples, model_artifact, make_config())


def test_an_empty_split(tmp_path, model_artifact):
    with pytest.raises(DataError, match="the test split holds no record"):
        run(tmp_path, write_examples(tmp_path / "examples", [[]]), model_artifact, make_config())
    with pytest.raises(DataError, match="no files in the split 'test'"):
        run(tmp_path, write_examples(tmp_path / "none", []), model_artifact, make_config())


def test_scenes_that_come_twice(tmp_path, serialized, model_artifact):
    examples = write_examples(tmp_path / "examples", [serialized, serialized[:1]])
    with pytest.raises(DataError, match="1 scenes come twice, the first is 1:0"):
        run(tmp_path, examples, model_artifact, make_config())


def test_lost_records():
    with pytest.raises(DataError, match="3 records were read and 2 evaluated"):
        scoring.check_account(np.array(["a", "b"]), 3, [], ["file"])


def test_a_missing_model_and_a_missing_signature(tmp_path, serialized):
    import tensorflow as tf

    with pytest.raises(ModelError, match="this SavedModel cannot be loaded"):
        scoring.Sampler(str(tmp_path / "nothing"))
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ModelError, match="the signature 'sample' is missing"):
        scoring.Sampler(str(tmp_path / "bare"))


def test_the_component_declares_standard_artifacts():
    from tfx.types import channel_utils

    component = CalibrationEvaluator(
        examples=channel_utils.as_channel([standard_artifacts.Examples()]),
        model=channel_utils.as_channel([standard_artifacts.Model()]),
        config="{}",
        code="abc",
    )
    assert component.outputs["blessing"].type is standard_artifacts.ModelBlessing
    assert component.outputs["evaluation"].type is standard_artifacts.ModelEvaluation
    assert component.exec_properties == {"config": "{}", "thresholds": "", "code": "abc"}


def test_a_live_model_that_there_is_not():
    live = standard_artifacts.Model()
    live.uri = "gs://bucket/out/of/reach"
    assert not executor.is_empty(live)
    for value in (1, 0):
        live.set_int_custom_property("live", value)
        assert executor.is_empty(live) == (value == 0)


def test_thresholds_given_for_a_run_take_the_place_of_the_configurations():
    text = '{"evaluation": {"num_samples": 4, "thresholds": [{"metric": "iou_galaxy", "min": 0.5}]}}'
    assert executor.read_config(text, "").evaluation.thresholds[0].min == 0.5
    given = executor.read_config(text, '[{"metric": "iou_blended", "min": 0.1}]')
    assert [rule.metric for rule in given.evaluation.thresholds] == ["iou_blended"]
    assert given.evaluation.num_samples == 4


def test_unreadable_thresholds_are_refused():
    with pytest.raises(
        ConfigError, match=r"thresholds: received '\[x', which is not JSON .*allowed: a list of rules such as"
    ):
        executor.read_config("{}", "[x")
