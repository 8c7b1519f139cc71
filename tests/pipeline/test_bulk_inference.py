"""Predictions of TFRecords: same ids, all counted, errors that say where."""

import gzip
import json
import zlib

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from blendinator.components.calibration_evaluator.scoring import Sampler
from blendinator.data import records
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.model.live import FACTS_FILE
from blendinator.pipeline import bulk_inference as bulk
from blendinator.pipeline.cli import main
from blendinator.pipeline.predictions import decode, parse


class Export(tf.Module):
    """Draws that depend on the pixels and the seed."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float32, name="image"),
            tf.TensorSpec([], tf.int32, name="num_samples"),
            tf.TensorSpec([2], tf.int32, name="seed"),
        ]
    )
    def sample(self, image, num_samples, seed):
        side = tf.shape(image)[1:]
        with tf.control_dependencies([tf.debugging.assert_equal(side % 2, [0, 0], "multiples of 2, please")]):
            shape = tf.concat([[num_samples], side, [3]], 0)
        logits = tf.asinh(image)[:, None, :, :, None] * [0.0, 0.1, 0.2] + tf.random.stateless_normal(shape, seed)
        return outputs(logits)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float32, name="image"),
            tf.TensorSpec([], tf.int32, name="num_samples"),
            tf.TensorSpec([2], tf.int32, name="seed"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([3], tf.float32, name="class_offsets"),
        ]
    )
    def sample_with_odds(self, image, num_samples, seed, temperature, class_offsets):
        shape = tf.concat([[1, num_samples], tf.shape(image)[1:], [1]], 0)
        return outputs(tf.zeros(shape) * temperature + class_offsets)


def outputs(logits):
    draws = tf.nn.softmax(logits)
    return {"samples": tf.cast(tf.argmax(draws, -1), tf.uint8), "probabilities": tf.reduce_mean(draws, 1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "17"
    export = Export()
    signatures = {"sample": export.sample, "sample_with_odds": export.sample_with_odds}
    tf.saved_model.save(export, str(folder), signatures=signatures)
    odds = {"temperature": 1.0, "class_offsets": [0.0, 0.0, float(np.log(2))]}
    facts = folder / FACTS_FILE
    facts.parent.mkdir(exist_ok=True)
    facts.write_text(json.dumps({"calibration": {"populations": {"boosted": odds}}}))
    return folder


@pytest.fixture
def span(span_maker):
    return span_maker.write()


def predictions(folder):
    return [decode(item) for path in sorted(folder.glob("*predictions*")) for item in read_records(str(path))]


def test_same_ids_and_what_the_model_draws(model, span, tmp_path):
    account = bulk.predict(
        [str(span / "test-*"), str(span / "train-*")], tmp_path / "out", model, num_samples=3, seed=5
    )
    assert (account["read"], account["written"], len(account["files"])) == (8, 8, 4)
    assert json.loads((tmp_path / "out" / "account.json").read_text()) == account
    assert not list((tmp_path / "out").glob("*.part"))
    scenes = {
        scene["scene_id"]: scene
        for split in ("test", "train")
        for path in span.glob(f"{split}-*")
        for scene in map(records.decode, read_records(str(path)))
    }
    found = predictions(tmp_path / "out")
    assert sorted(item["scene_id"] for item in found) == sorted(scenes)
    sampler = Sampler(str(model))
    for item in found:  # at the odds that the model is meant for, whatever population a record names
        samples, probabilities = sampler.sample(scenes[item["scene_id"]]["image"][None], 3, 5)
        np.testing.assert_array_equal(item["samples"], samples[0])
        np.testing.assert_array_equal(item["probabilities"], probabilities[0])
        np.testing.assert_array_equal(item["class_map"], probabilities[0].argmax(-1))


def test_the_odds_of_another_population(model, span, tmp_path):
    bulk.predict([str(span / "test-*")], tmp_path / "out", model, num_samples=2, population="boosted")
    for item in predictions(tmp_path / "out"):
        np.testing.assert_allclose(item["probabilities"][0, 0], [0.25, 0.25, 0.5], rtol=1e-6)


def test_a_population_that_the_model_does_not_know(model, span, tmp_path):
    with pytest.raises(ConfigError, match=r"population: received 'crowded'; allowed for .*17: boosted"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", model, population="crowded")
    assert not (tmp_path / "out").exists()


def test_other_workers_same_bytes(model, span, tmp_path):
    args = ["--runner=DirectRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]
    for name, options in (("one", []), ("two", args)):
        bulk.predict([str(span / "test-*")], tmp_path / name, model, num_samples=2, pipeline_args=options)
    for path in (tmp_path / "one").glob("*predictions*"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_command(model, span, tmp_path):
    result = CliRunner().invoke(
        main,
        [
            "predict",
            str(span / "test-*"),
            "--output",
            str(tmp_path / "out"),
            "--model",
            str(model.parent),
            "--trust-model",
            "--samples",
            "2",
            "--population",
            "boosted",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "4 records read, 4 predictions written" in result.output
    assert f"warning: {model.parent} runs with your rights" in result.output
    assert all("samples" not in item for item in predictions(tmp_path / "out"))


def test_batches_hold_stamps_of_one_size_in_their_order():
    stamps = [(str(i), np.full((side, side), i)) for i, side in enumerate([2, 2, 2, 4, 4, 2])]
    found = [(ids, images.shape) for ids, images in bulk.batches(stamps, 8)]
    assert found == [
        (["0", "1"], (2, 2, 2)),
        (["2"], (1, 2, 2)),
        (["3"], (1, 4, 4)),
        (["4"], (1, 4, 4)),
        (["5"], (1, 2, 2)),
    ]
    assert list(bulk.batches([], 8)) == []


def example(**features):
    kinds = {
        "scene_id": lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])),
        "image": lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
    }
    return tf.train.Example(
        features=tf.train.Features(feature={name: kinds[name](value) for name, value in features.items()})
    ).SerializeToString()


@pytest.mark.parametrize(
    "serialized, message",
    [
        (b"\xff", "f: record 3: this is not a tf.Example"),
        (example(image=[1.0] * 4), "f: record 3: received the features image.*; required: scene_id"),
        (example(scene_id=b"1:1"), "required: scene_id, one bytes value, and image"),
        (example(scene_id=b"1:1", image=[1.0] * 5), r"record 3 \(scene 1:1\): image has 5 values; allowed: a square"),
        (example(scene_id=b"1:1", image=[1.0, 2.0, np.nan, 0.0]), "image has pixels that are NaN or infinite"),
        (example(scene_id=b"\xff", image=[1.0]), r"record 3: scene_id: received b'\\xff'; allowed: UTF-8 text"),
    ],
)
def test_bad_records(serialized, message):
    with pytest.raises(DataError, match=message):
        parse(serialized, "f: record 3")


def test_damaged_file_is_named(model, span, tmp_path):
    path = next(span.glob("test-00001*"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=f"{path.name}: record . cannot be read"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", model)


def test_size_that_the_model_does_not_take(model, tmp_path):
    (tmp_path / "odd.tfrecord").write_bytes(frame_record(example(scene_id=b"1:1", image=[1.0] * 9)))
    with pytest.raises(DataError, match="odd.tfrecord: the model refuses images of 3 x 3 pixels .*multiples of 2"):
        bulk.predict([str(tmp_path / "odd.tfrecord")], tmp_path / "out", model)


def test_repeated_id(model, span_maker, tmp_path):
    span = span_maker.write(test=[records.encode(span_maker.scene(1))] * 4)
    with pytest.raises(DataError, match="2 records with 1 different ids, 2 predictions. Every record needs an id"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", model)


def test_lost_file():
    with pytest.raises(DataError, match="2 files were to be predicted and 1 were"):
        bulk.check_account({"files": [{"file": "a", "read": 1, "written": 1, "ids": 1}]}, ["a", "b"])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz", "a[1].tfrecord", "a*?.tfrecord.gz"])
def test_compression_by_content_and_names_taken_literally(model, tmp_path, pack, name):
    content = frame_record(example(scene_id=b"1:1", image=[1.0] * 16))
    (tmp_path / name).write_bytes(pack(content))
    (tmp_path / "a1.tfrecord").write_bytes(b"not meant")
    account = bulk.predict([str(tmp_path / name)], tmp_path / "out[x]", model, num_samples=2)
    assert (account["read"], account["written"]) == (1, 1) and len(list((tmp_path / "out[x]").iterdir())) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: path.write_bytes(b"SIMPLE  =          T"),
            "a: record 0 .* holds no TFRecords",
        ),
        (lambda path: path.mkdir(), "a: this is a folder; allowed: files, such as .*a/\\*"),
        (lambda path: path.symlink_to("nowhere"), "a: no file matches"),
    ],
)
def test_what_is_not_damaged_is_not_called_so(model, tmp_path, make, message):
    make(tmp_path / "a")
    with pytest.raises(DataError, match=message) as caught:
        bulk.predict([str(tmp_path / "a")], tmp_path / "out", model)
    assert "is damaged" not in str(caught.value)


def test_a_name_that_is_not_utf8(model, tmp_path):
    with pytest.raises(DataError, match="names of TFRecord files must be UTF-8. Rename it"):
        bulk.predict([str(tmp_path / "caf\udce9")], tmp_path / "out", model)


def test_a_failed_or_killed_run_does_not_block_the_next(model, span, tmp_path):
    path = next(span.glob("test-00001*"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="cannot be read"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", model, num_samples=2)
    assert list((tmp_path / "out").iterdir()) == []
    path.write_bytes(whole)
    (tmp_path / "out" / "x.predictions.tfrecord.part").touch()
    assert bulk.predict([str(span / "test-*")], tmp_path / "out", model, num_samples=2)["read"] == 4


def test_no_files(model, tmp_path):
    with pytest.raises(DataError, match="nothing-.: no file matches"):
        bulk.predict([str(tmp_path / "nothing-*")], tmp_path / "out", model)


def test_two_files_of_one_name(model, span, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    name = next(span.glob("test-00000*"))
    (other / name.name).write_bytes(name.read_bytes())
    with pytest.raises(DataError, match="two files of records would get this name"):
        bulk.predict([str(name), str(other / name.name)], tmp_path / "out", model)


def test_folder_in_use(model, span, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(ConfigError, match="out: this folder holds files already. Give a new one"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", model)


def test_no_model(span, tmp_path):
    with pytest.raises(ModelError, match="this SavedModel cannot be loaded"):
        bulk.predict([str(span / "test-*")], tmp_path / "out", tmp_path / "no")
