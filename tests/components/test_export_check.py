"""The export check: each defect of an export has a check that finds it; a sound one is blessed as Pusher expects."""

import contextlib
import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from blendinator.components.export_check import executor, signatures, triton
from blendinator.config import ServingConfig
from blendinator.data import records, spans
from blendinator.errors import DataError

SIZE = 8
NUM_SAMPLES = 5
FACTS = {
    "latent": "spatial",
    "latent_dim": 1,
    "downsampling": 2,
    "sample_scales": [4.0],
    "class_fields": 2,
    "population": "natural",
    "odds": {"natural": {"temperature": 1.0, "class_offsets": [0.0, 0.0, 0.0]}},
}
ODDS = [tf.TensorSpec([], tf.float32, name="temperature"), tf.TensorSpec([3], tf.float32, name="class_offsets")]


class Export(tf.Module):
    """An export that keeps the contract, with draws that depend on the seed and the pixels alone."""

    def probabilities(self, image, num_samples, seed):
        shape = tf.concat([[num_samples], tf.shape(image)[1:], [3]], 0)
        noise = tf.random.stateless_normal(shape, seed)
        return tf.nn.softmax(tf.asinh(image)[:, None, :, :, None] * [0.0, 0.1, 0.2] + noise[None])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float32, name="image"),
            tf.TensorSpec([], tf.int32, name="num_samples"),
            tf.TensorSpec([2], tf.int32, name="seed"),
        ]
    )
    def sample(self, image, num_samples, seed):
        draws = self.probabilities(image, num_samples, seed)
        return {"samples": tf.cast(tf.argmax(draws, -1), tf.uint8), "probabilities": tf.reduce_mean(draws, 1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float32, name="image"),
            tf.TensorSpec([], tf.int32, name="num_samples"),
            tf.TensorSpec([2], tf.int32, name="seed"),
            *ODDS,
        ]
    )
    def sample_with_odds(self, image, num_samples, seed, temperature, class_offsets):
        return self.sample(image, num_samples, seed)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.float32, name="image")])
    def serve(self, image):
        draws = self.probabilities(image, NUM_SAMPLES, [1, 0])
        mean = tf.reduce_mean(draws, 1)
        entropy = -tf.reduce_sum(tf.math.xlogy(mean, mean), -1)
        within = tf.reduce_mean(-tf.reduce_sum(tf.math.xlogy(draws, draws), -1), 1)
        return {
            "class_map": tf.cast(tf.argmax(mean, -1), tf.uint8),
            "probabilities": mean,
            "entropy": entropy,
            "mutual_information": entropy - within,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve_examples(self, examples):
        spec = {"image": tf.io.FixedLenFeature([SIZE, SIZE], tf.float32)}
        return self.serve(tf.io.parse_example(examples, spec)["image"])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float32, name="image"),
            tf.TensorSpec([None, None, None, None, 1], tf.float32, name="latent_noise"),
            tf.TensorSpec([None, None, 2, None, None], tf.float32, name="class_noise_0"),
            tf.TensorSpec([1, 2], tf.float32, name="lattice_offset"),
            tf.TensorSpec([4], tf.int32, name="margins"),
            *ODDS,
        ]
    )
    def sample_with_noise(self, image, latent_noise, class_noise, lattice_offset, margins, temperature, class_offsets):
        shape = tf.shape(image)
        factor = shape[1] // tf.shape(latent_noise)[2]
        latent = tf.repeat(tf.repeat(latent_noise, factor, axis=2), factor, axis=3)
        draws = tf.nn.softmax(tf.asinh(image)[:, None, :, :, None] * [0.0, 0.1, 0.2] + latent * [0.0, 1.0, 2.0])
        draws = draws[:, :, margins[0] : shape[1] - margins[1], margins[2] : shape[2] - margins[3]]
        mean = tf.reduce_mean(draws, 1)
        entropy = -tf.reduce_sum(tf.math.xlogy(mean, mean), -1)
        return {
            "samples": tf.cast(tf.argmax(draws, -1), tf.uint8),
            "class_map": tf.cast(tf.argmax(mean, -1), tf.uint8),
            "probabilities": mean,
            "entropy": entropy,
            "mutual_information": tf.zeros_like(entropy),
        }


def save(folder):
    export = Export()
    tf.saved_model.save(
        export,
        str(folder),
        signatures={
            "sample": export.sample,
            "sample_with_odds": export.sample_with_odds,
            "serving_default": export.serve,
            "from_examples": export.serve_examples,
            "sample_with_noise": export.sample_with_noise,
        },
    )
    (folder / signatures.FIELD_FILE).parent.mkdir()
    (folder / signatures.FIELD_FILE).write_text(json.dumps(FACTS))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    save(folder)
    return tf.saved_model.load(str(folder))


def check(loaded, span_maker, seed=1, facts=FACTS, **replaced):
    """{check: detail} of those that fail when some signatures are replaced."""
    serialized = [records.encode(span_maker.scene(i)) for i in range(3)]
    image = np.stack([span_maker.scene(i)["image"][..., 0] for i in range(3)])

    class Model:
        pass

    model = Model()
    model.signatures = {**loaded.signatures, **replaced}
    model.signatures = {name: signature for name, signature in model.signatures.items() if signature}
    checks = signatures.Checks()
    signatures.check_model(model, image, serialized, NUM_SAMPLES, seed, checks, facts)
    assert checks.results
    return {entry["name"]: entry["detail"] for entry in checks.results if not entry["passed"]}


def altered(signature, **changes):
    """The signature with functions applied to some of its outputs."""

    def call(**inputs):
        return {name: changes.get(name, lambda value: value)(value) for name, value in signature(**inputs).items()}

    return call


def test_sound_export_passes(loaded, span_maker):
    assert check(loaded, span_maker) == {}


def test_stamp_of_no_more_than_two_margins_passes(loaded, span_maker):
    assert check(loaded, span_maker, facts={**FACTS, "downsampling": SIZE // 2}) == {}


def test_the_largest_seed_passes(loaded, span_maker):
    assert set(check(loaded, span_maker, seed=2**31 - 1)) == {"sample agrees with serving_default"}  # whose seed is 1


def test_missing_signature(loaded, span_maker):
    assert check(loaded, span_maker, sample=None) == {"signatures": "missing: sample"}


def test_missing_output(loaded, span_maker):
    serve = loaded.signatures["serving_default"]
    without = lambda **inputs: {k: v for k, v in serve(**inputs).items() if k != "entropy"}
    [(name, detail)] = check(loaded, span_maker, serving_default=without).items()
    assert name == "serving_default: outputs"
    assert "received ['class_map', 'mutual_information', 'probabilities']" in detail


@pytest.mark.parametrize(
    "signature, output, change, name",
    [
        ("sample", "samples", lambda x: tf.cast(x, tf.int32), "sample: type and shape of samples"),
        ("sample", "samples", lambda x: x[:, :2], "sample: type and shape of samples"),
        ("sample", "samples", lambda x: x + tf.cast(x == 2, tf.uint8), "sample: classes of samples"),
        ("sample", "probabilities", lambda x: x * 1.1, "sample: probabilities"),
        ("serving_default", "probabilities", lambda x: x * np.nan, "serving_default: probabilities finite"),
        ("serving_default", "class_map", tf.zeros_like, "serving_default: class_map is the most probable class"),
        ("serving_default", "entropy", lambda x: x + 1, "serving_default: entropy"),
        ("serving_default", "mutual_information", lambda x: x + 1, "serving_default: mutual_information"),
    ],
)
def test_each_wrong_output_is_found(loaded, span_maker, signature, output, change, name):
    changed = altered(loaded.signatures[signature], **{output: change})
    assert name in check(loaded, span_maker, **{signature: changed})


def test_examples_that_are_served_differently_are_found(loaded, span_maker):
    serve = loaded.signatures["from_examples"]
    shuffled = lambda examples: serve(examples=tf.reverse(examples, [0]))
    assert set(check(loaded, span_maker, from_examples=shuffled)) == {"from_examples agrees with serving_default"}


def test_odds_that_are_not_those_of_sample_are_found(loaded, span_maker):
    other = loaded.signatures["sample_with_odds"]
    warmer = lambda image, **inputs: other(image=2.0 * image, **inputs)
    assert set(check(loaded, span_maker, sample_with_odds=warmer)) == {"sample_with_odds agrees with sample"}


def test_seed_that_is_ignored_is_found(loaded, span_maker):
    sample = loaded.signatures["sample"]
    fixed = lambda image, num_samples, seed: sample(image=image, num_samples=num_samples, seed=tf.constant([1, 0]))
    assert set(check(loaded, span_maker, sample=fixed)) == {"other seed, other samples"}


def test_margins_that_shift_the_result_are_found(loaded, span_maker):
    signature = loaded.signatures["sample_with_noise"]
    shifted = lambda image, margins, **noise: signature(
        image=tf.roll(image, 1, axis=1) if int(margins[0]) else image, margins=margins, **noise
    )
    moved = lambda latent_noise, margins, **inputs: signature(
        latent_noise=tf.roll(latent_noise, 1, axis=2) if int(margins[0]) else latent_noise, margins=margins, **inputs
    )
    assert "margins are context only" in check(loaded, span_maker, sample_with_noise=shifted)
    assert "samples hold together across tiles" in check(loaded, span_maker, sample_with_noise=moved)


def test_export_without_the_facts_for_fields_is_found(span_maker, tmp_path):
    save(tmp_path / "model" / "Format-Serving")
    (tmp_path / "model" / "Format-Serving" / signatures.FIELD_FILE).unlink()
    blessing = run_component(span_maker, tmp_path)
    assert not model_utils.is_infra_validated(blessing)
    assert "field.json" in blessing.get_string_custom_property("reason")


def test_draws_that_are_not_reproducible_are_found(loaded, span_maker):
    sample, calls = loaded.signatures["sample"], []

    def drifting(image, num_samples, seed):
        calls.append(seed)
        return sample(image=image, num_samples=num_samples, seed=seed + len(calls))

    assert "same seed, same samples" in check(loaded, span_maker, sample=drifting)


def test_samples_that_agree_with_each_other_are_found(loaded, span_maker):
    frozen = altered(loaded.signatures["sample"], samples=lambda x: tf.repeat(x[:, :1], tf.shape(x)[1], axis=1))
    assert "samples differ from each other" in check(loaded, span_maker, sample=frozen)


def run_component(span_maker, tmp_path, **serving):
    """The executor on a span's test split; returns the blessing."""
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    for path in span_maker.write().glob("test-*"):
        (split / path.name).write_bytes(path.read_bytes())
    made = {}
    for name, kind in (
        ("examples", standard_artifacts.Examples),
        ("model", standard_artifacts.Model),
        ("blessing", standard_artifacts.InfraBlessing),
    ):
        made[name] = kind()
        made[name].uri = str(tmp_path / name)
    executor.Executor().Do(
        {"examples": [made["examples"]], "model": [made["model"]]},
        {"blessing": [made["blessing"]]},
        {"num_samples": NUM_SAMPLES, "seed": 1, "stamp_size": SIZE, "serving": json.dumps(serving), "code": ""},
    )
    return made["blessing"]


def test_sound_export_is_blessed_in_a_fresh_process(span_maker, tmp_path):
    save(tmp_path / "model" / "Format-Serving")
    blessing = run_component(span_maker, tmp_path)
    assert model_utils.is_infra_validated(blessing) and blessing.get_string_custom_property("reason") == ""
    assert (tmp_path / "blessing" / "INFRA_BLESSED").exists()
    report = json.loads((tmp_path / "blessing" / "report.json").read_text())
    assert report["records"] == 4 and all(entry["passed"] for entry in report["checks"])


def test_export_that_cannot_be_loaded_is_not_blessed_and_says_why(span_maker, tmp_path):
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    blessing = run_component(span_maker, tmp_path)
    assert not model_utils.is_infra_validated(blessing)
    assert (tmp_path / "blessing" / "INFRA_NOT_BLESSED").exists()
    assert "SavedModel file does not exist" in blessing.get_string_custom_property("reason")


@pytest.mark.parametrize("shift, blessed", [(0.0, True), (0.25, False)])
def test_triton_must_answer_as_the_saved_model_does(loaded, span_maker, tmp_path, monkeypatch, shift, blessed):
    def infer(url, model, image, **others):
        assert url == "http://served" and image.shape == (1, SIZE, SIZE)
        if model == "blendinator":
            found = loaded.signatures["serving_default"](image=tf.constant(image))
        else:
            seed, [count] = tf.constant(others["seed"]), others["num_samples"]
            found = loaded.signatures["sample"](image=tf.constant(image), num_samples=tf.constant(count), seed=seed)
            found["probabilities"] += shift
        return {name: value.numpy() for name, value in found.items()}

    monkeypatch.setattr(triton, "serve", lambda python, *_: contextlib.nullcontext(f"http://{python}"))
    monkeypatch.setattr(triton, "infer", infer)
    save(tmp_path / "model" / "Format-Serving")
    blessing = run_component(span_maker, tmp_path, infra_check="triton", triton_python="served")
    reason = blessing.get_string_custom_property("reason")
    assert model_utils.is_infra_validated(blessing) == blessed
    assert reason.startswith("" if blessed else "Triton: sample as the SavedModel's: differ: ")
    assert ("probabilities by up to 0.25" in reason) != blessed
    names = [check["name"] for check in json.loads((tmp_path / "blessing" / "report.json").read_text())["checks"]]
    assert names[-2:] == ["Triton: serving_default as the SavedModel's", "Triton: sample as the SavedModel's"]


def test_model_that_fails_by_itself_is_not_served(span_maker, tmp_path):
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    blessing = run_component(span_maker, tmp_path, infra_check="triton", triton_python="/no/such/program")
    assert "SavedModel file does not exist" in blessing.get_string_custom_property("reason")


def test_process_that_dies_is_a_failed_check(tmp_path, monkeypatch):
    monkeypatch.setattr(executor.sys, "executable", "/bin/false")
    [entry] = executor.check_export(str(tmp_path), [b""], SIZE, NUM_SAMPLES, 1, ServingConfig())["checks"]
    assert entry == {"name": "process", "passed": False, "detail": "the process ended with code 1: no message"}


@pytest.mark.parametrize("number", [9, 15])
def test_process_that_is_killed_says_nothing_about_the_model(tmp_path, monkeypatch, number):
    """A refusal would be remembered; an error lets the next run check again."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nkill -{number} $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(executor.sys, "executable", str(script))
    with pytest.raises(DataError, match=f"ended by signal {number}, perhaps because the memory was used up.*run again"):
        executor.check_export(str(tmp_path), [b""], SIZE, NUM_SAMPLES, 1, ServingConfig())


def test_blended_records_are_chosen_first(span_maker, tmp_path):
    scenes = [span_maker.scene(i, blended_share=0.1 * (i % 2)) for i in range(6)]
    path = span_maker.write(test=[records.encode(scene) for scene in scenes]).rename(tmp_path / "test")
    for other in (*path.glob("train-*"), *path.glob("calibration-*"), path / spans.MANIFEST):
        other.unlink()
    chosen = [records.decode(serialized)["scene_id"] for serialized in executor.choose_records(path, count=4)]
    assert chosen == ["1:1", "1:3", "1:5", "1:0"]


def test_split_without_records(tmp_path):
    with pytest.raises(DataError, match="no records in the split 'test'"):
        executor.choose_records(tmp_path)
