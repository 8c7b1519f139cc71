import io

import numpy as np
import pytest
from PIL import Image

from blendinator.model import gallery


def scene(size=16):
    mask = np.zeros((size, size), int)
    mask[4:8, 4:8], mask[6:8, 6:8] = 1, 2
    samples = np.repeat(mask[None], 3, axis=0)
    return {
        "image": 100.0 * mask,
        "sky_sigma": 5.0,
        "mask": mask,
        "samples": samples,
        "probabilities": np.eye(3)[mask],
        "title": "1:0 boosted",
    }


def rows(count=12):
    return {
        "scene_id": np.array([f"1:{i:02d}" for i in range(count)]),
        "population": np.array(["boosted", "natural"] * (count // 2)),
        "num_galaxies": np.full(count, 2),
        "blended_scenes": np.ones(count),
        "distance_truth": np.arange(count)[::-1] / count,
        "distance_truth_map": np.arange(count)[::-1] / count,
    }


def test_stretch_keeps_noise_dark_and_order():
    levels = gallery.stretch(np.array([[-50.0, 0.0, 5.0, 100.0, 1e5]]), 5.0)[0]
    assert levels[0] == 0 and levels[-1] == 1
    assert (np.diff(levels) > 0).all()
    noise = gallery.stretch(np.random.default_rng(0).normal(0, 5, (64, 64)), 5.0)
    assert noise.mean() < 0.3


def test_class_colors_mix_by_probability():
    np.testing.assert_allclose(gallery.class_colors(np.eye(3)), gallery.CLASS_COLORS)
    np.testing.assert_allclose(gallery.class_colors(np.array([0.5, 0.5, 0])), gallery.CLASS_COLORS[:2].mean(0))


def test_colours_differ_in_lightness():
    """A grey print must still tell the classes apart."""
    light = gallery.CLASS_COLORS @ [0.299, 0.587, 0.114]
    assert light[0] < 0.15 and light[1] > 0.5 and light[2] > 0.5


def test_page_is_a_picture_with_every_panel():
    picture = Image.open(io.BytesIO(gallery.page([scene(), scene()])))
    assert picture.format == "PNG"
    assert picture.width > 7 * 16 * 3 and picture.height > 2 * 16 * 3
    colours = {color for _, color in picture.convert("RGB").getcolors(10**6)}
    for wanted in gallery.CLASS_COLORS:
        assert tuple((wanted * 255).astype(int)) in colours


def test_page_with_fewer_samples_than_columns():
    one = scene()
    one["samples"] = one["samples"][:1]
    assert gallery.page([one]).startswith(b"\x89PNG")


def test_choice_spreads_from_best_to_worst_and_over_populations():
    chosen = gallery.choose_scenes(rows(), 6)
    assert len(chosen) == len(set(chosen)) == 6
    boosted = [name for name in chosen if int(name[2:]) % 2 == 0]
    assert len(boosted) == 4
    assert boosted == sorted(boosted, reverse=True)  # distances fall with the number
    assert boosted[0] == "1:10" and boosted[-1] == "1:00"


def test_extremes_are_taken_among_scenes_with_a_blend():
    table = rows()
    table["blended_scenes"][11] = 0  # the best of all, but empty
    chosen = gallery.extreme_scenes(table, 3)
    assert chosen["best"] == ["1:10", "1:09", "1:08"]
    assert chosen["worst"] == ["1:02", "1:01", "1:00"]
    assert chosen["typical"] == ["1:06", "1:05", "1:04"]


@pytest.mark.parametrize("count", [1, 2])
def test_extremes_of_very_few_scenes(count):
    table = {name: value[:count] for name, value in rows().items()}
    assert all(len(chosen) == count for chosen in gallery.extreme_scenes(table, 3).values())


@pytest.mark.parametrize("population", ["boosted", "natural"])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_scenes_of_the_only_population_there_is(population, count):
    chosen = gallery.choose_scenes({**rows(), "population": np.full(12, population)}, count)
    assert len(set(chosen)) == len(chosen) == count


def test_white_point_below_the_brightest_pixel():
    image = np.concatenate([np.full(99, 1000.0), [1e6]])[None]
    assert gallery.stretch(image, 5.0, 0.9)[0, 0] == 1 > gallery.stretch(image, 5.0)[0, 0]
