"""Training batches: reproducible from any step, each scene once an epoch, noise fresh and of the right size."""

import dataclasses
import gzip
from itertools import chain

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import DefectsConfig, TrainingConfig
from blendinator.data import observing, records
from blendinator.data.observing import DEFAULT, unit_noise
from blendinator.data.spans import MAPPED_BYTES_PER_PIXEL
from blendinator.data.tfrecords import frame_record
from blendinator.errors import DataError
from blendinator.model import input_data

CLEAN = DefectsConfig(
    background_error=0.0, oversubtraction=0.0, depth_edge_share=0.0, residue_share=0.0, no_data_share=0.0
)
CONFIG = TrainingConfig(steps=12, batch_size=8, seed=5)


def batches(scenes, config, first_step=0):
    identity = lambda image: image
    return [
        (image.numpy(), mask.numpy())
        for image, mask in input_data.training_batches(scenes, identity, config, first_step)
    ]


def test_a_resumed_training_sees_the_same_batches(scenes):
    whole, resumed = batches(scenes, CONFIG), batches(scenes, CONFIG, first_step=7)
    assert len(whole) == 12 and len(resumed) == 5
    for expected, got in zip(whole[7:], resumed):
        np.testing.assert_array_equal(expected[0], got[0])
        np.testing.assert_array_equal(expected[1], got[1])


def test_another_seed_gives_other_batches(scenes):
    assert not np.array_equal(batches(scenes, CONFIG)[0][0], batches(scenes, dataclasses.replace(CONFIG, seed=6))[0][0])


def test_every_epoch_visits_each_scene_once_in_a_new_order(scenes):
    """Marks each scene by its sky sigma, with no source and no mask to tell them apart."""
    marks = np.arange(1, 31, dtype=np.float32)
    marked = scenes._replace(image=np.ones_like(scenes.image) * marks[:, None, None, None])
    config = dataclasses.replace(CONFIG, batch_size=10, steps=6, fresh_noise=False, multi_sample_share=0.0)
    order = np.concatenate([image[:, 0, 0, 0] for image, _ in batches(marked, config)])
    assert sorted(order[:30]) == sorted(order[30:]) == list(range(1, 31))
    assert not np.array_equal(order[:30], order[30:])


def test_fresh_noise_differs_between_visits_and_stored_noise_does_not(scenes):
    one = scenes.take(np.array([3]))
    config = dataclasses.replace(CONFIG, batch_size=64, steps=1)
    fresh, _ = batches(one, config)[0]
    assert len(np.unique(fresh.sum(axis=(1, 2, 3)).round(2))) == 64
    stored, _ = batches(one, dataclasses.replace(config, fresh_noise=False))[0]
    sums = stored.astype("f8").sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, sums[0], rtol=1e-6)  # only flips and turns


def test_noise_has_the_variance_of_sky_and_source():
    noise_free = tf.fill([50, 32, 32, 1], 300.0)
    seed = tf.constant([1, 2], tf.int64)
    noisy = input_data.observe_again(noise_free, tf.fill([50, 1], 26.0), tf.zeros([50]), seed, CLEAN)
    assert float(tf.reduce_mean(noisy)) == pytest.approx(300.0, abs=0.5)
    assert float(tf.math.reduce_variance(noisy)) == pytest.approx(26.0**2 + 300.0, rel=0.02)


def test_training_draws_what_the_simulator_draws():
    """The same functions: TensorFlow with the simulator's random numbers gives the simulator's image."""
    rng = np.random.default_rng(3)
    light = np.abs(rng.normal(0, 60, (40, 32, 32))).astype("f4")
    sigma = np.full(40, 26.0)
    everything = dataclasses.replace(DEFAULT, depth_edge_share=0.6, residue_share=0.6, no_data_share=0.6)
    draws = [observing.sample_draws(rng, unit_noise(rng, 32, 0.5)) for _ in range(40)]
    stored = np.stack([observing.observe_one(*one, everything) for one in zip(light, sigma, draws)])
    together = observing.Draws(*(tf.constant(np.concatenate(part), tf.float32) for part in zip(*draws)))
    light, sigma = tf.constant(light), tf.constant(sigma, tf.float32)
    mean = tf.reduce_mean(observing.clipped(tf, light, sigma), axis=[1, 2])
    image = observing.add_sky(tf, light, mean, sigma, together, everything)
    image, _ = observing.add_defects(tf, image, sigma, together.uniform, everything)
    difference = np.abs(image.numpy() - stored)
    assert np.mean(difference > 0.01) < 1e-3  # pixels at the very edge of a track
    assert (stored == 0.0).any() and np.mean(np.abs(stored) > 0.0) > 0.9


def test_defects_are_drawn_again_at_every_step(scenes):
    config = dataclasses.replace(CONFIG, batch_size=64, steps=2)
    everything = dataclasses.replace(CLEAN, no_data_share=1.0)
    identity = lambda image: image
    images = [x.numpy() for x, _ in input_data.training_batches(scenes, identity, config, 0, everything)]
    assert np.mean((images[0] == 0.0).any(axis=(1, 2, 3))) > 0.5
    assert not np.array_equal(images[0] == 0.0, images[1] == 0.0)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_noise_is_correlated_as_the_simulators(correlation):
    noise_free, sky_sigma = tf.zeros([200, 32, 32, 1]), tf.fill([200, 1], 26.0)
    seed = tf.constant([1, 2], tf.int64)
    fresh = input_data.observe_again(noise_free, sky_sigma, tf.fill([200], correlation), seed, CLEAN) / 26.0
    stored = np.stack([unit_noise(np.random.default_rng(i), 32, correlation) for i in range(200)])[..., None]

    def moments(noise):
        noise = np.asarray(noise)
        return [np.mean(noise * np.roll(noise, shift, axis=(1, 2))) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]

    np.testing.assert_allclose(moments(fresh), moments(stored), atol=0.02)


@pytest.fixture
def marked(scenes):
    """30 scenes, each marked by its image; the first ten are natural."""
    return scenes._replace(
        image=np.ones_like(scenes.image) * np.arange(30)[:, None, None, None].astype("f4"),
        population=np.where(np.arange(30) < 10, "natural", "boosted"),
    )


def test_the_last_phase_holds_the_natural_share(marked):
    config = dataclasses.replace(
        CONFIG, batch_size=10, steps=10, fresh_noise=False, multi_sample_share=0.5, natural_share=0.8
    )
    marks = np.stack([image[:, 0, 0, 0] for image, _ in batches(marked, config)])
    assert sorted(marks[:3].ravel()) == list(range(30))  # all scenes alike
    last = marks[5:]
    assert ((last < 10).sum(axis=1) == 8).all()
    assert np.bincount(last[last < 10].astype(int), minlength=10).tolist() == [4] * 10  # 40 visits, each as often


@pytest.mark.parametrize(("share", "naturals"), [(1.0, 10), (0.0, 0)])
def test_the_last_phase_may_hold_natural_scenes_alone_or_none(marked, share, naturals):
    config = dataclasses.replace(
        CONFIG, batch_size=10, steps=4, fresh_noise=False, multi_sample_share=1.0, natural_share=share
    )
    marks = np.stack([image[:, 0, 0, 0] for image, _ in batches(marked, config)])
    assert ((marks < 10).sum(axis=1) == naturals).all()


def test_turns_keep_image_and_mask_together():
    image = tf.reshape(tf.range(16, dtype=tf.float32), [1, 4, 4])
    image = tf.repeat(image, 200, axis=0)
    turned, mask = input_data.flip_and_rotate([image, tf.cast(image, tf.int32)], tf.constant([1, 2]))
    np.testing.assert_array_equal(turned, mask)
    assert len(np.unique(turned.numpy().reshape(200, 16), axis=0)) == 8


@pytest.fixture
def stored(tmp_path, scenes):
    """A folder with the scenes in two gzipped TFRecord files."""
    scalars = dict.fromkeys(records.SCALAR_FEATURES, 0) | {"scene_id": "a", "sky_sigma": 26.0}
    for number in range(2):
        with gzip.open(tmp_path / f"train-{number}.gz", "wb") as file:
            for i in range(15 * number, 15 * (number + 1)):
                scene = {
                    "image": scenes.image[i],
                    "noise_free": scenes.noise_free[i],
                    "mask": scenes.mask[i],
                    "population": scenes.population[i],
                }
                file.write(frame_record(records.encode(scalars | scene)))
    return tmp_path


def test_scenes_come_back_in_the_order_of_the_files(stored, scenes):
    loaded = input_data.load_scenes([str(stored / "train-*")], 16, stored)
    assert loaded.count == 30
    for name, values in scenes._asdict().items():
        np.testing.assert_array_equal(getattr(loaded, name), values)
        assert getattr(loaded, name).dtype == values.dtype


def test_files_that_are_read_ahead_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(input_data, "READ", 2)
    counts = [3, 0, 1, 4, 2, 0, 5, 1, 3]  # more files than readers, and some without a record
    paths = [str(tmp_path / f"{number}.gz") for number in range(len(counts))]
    names = [[f"{number}-{i}".encode() for i in range(count)] for number, count in enumerate(counts)]
    for path, file_names in zip(paths, names):
        with gzip.open(path, "wb") as file:
            file.write(b"".join(map(frame_record, file_names)))
    blocks = [block.numpy().tolist() for block in input_data.read_in_order(paths)]
    assert list(chain(*blocks)) == list(chain(*names)) and max(map(len, blocks)) == 2


def test_pixels_are_mapped_from_files_without_a_name(stored):
    def on_disk():
        with open("/proc/self/maps") as maps:
            return sum(str(stored) in line for line in maps)

    loaded = input_data.load_scenes([str(stored / "train-*")], 16, stored)
    assert on_disk() == 3
    assert loaded.image.nbytes + loaded.noise_free.nbytes + loaded.mask.nbytes == MAPPED_BYTES_PER_PIXEL * 30 * 16 * 16
    assert sorted(path.name for path in stored.iterdir()) == ["train-0.gz", "train-1.gz"]
    del loaded
    assert on_disk() == 0


def test_a_training_on_mapped_scenes_sees_the_batches_of_scenes_in_memory(stored, scenes):
    loaded = input_data.load_scenes([str(stored / "train-*")], 16, stored)
    for mine, theirs in zip(batches(loaded, CONFIG), batches(scenes, CONFIG)):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


def test_no_files(tmp_path):
    with pytest.raises(DataError, match="no scenes in .*simulate the span"):
        input_data.load_scenes([str(tmp_path / "*.gz")], 16)


def test_the_transform_graph_normalises_as_written(transform_graph, scenes):
    normalised = input_data.load_normalise(transform_graph)(scenes.image).numpy()
    ratio = np.sinh(normalised) / scenes.image
    assert ratio.std() < 1e-4 * ratio.mean()
    faint, median = np.quantile(scenes.image[:, ::4, ::4], [0.158655, 0.5])
    assert 1 / ratio.mean() == pytest.approx(median - faint, rel=0.05)
