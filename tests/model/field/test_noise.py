"""Noise of the global grid."""

import numpy as np

from blendinator.model.field import noise

WHOLE = dict(seed=1, stream=noise.LATENT, draws=3, channels=2, top=0, left=0, height=100, width=90)


def test_windows_are_parts_of_one_field():
    whole = noise.window(**WHOLE)
    for top, left, height, width in ((0, 0, 5, 7), (31, 30, 3, 40), (64, 33, 36, 57)):
        part = noise.window(1, noise.LATENT, 3, 2, top, left, height, width)
        np.testing.assert_array_equal(part, whole[:, top : top + height, left : left + width])


def test_fewer_draws_are_the_first_of_more():
    np.testing.assert_array_equal(noise.window(**{**WHOLE, "draws": 2}), noise.window(**WHOLE)[:2])


def test_draws_seeds_streams_and_blocks_are_independent_and_standard_normal():
    whole = noise.window(**WHOLE)
    others = [
        whole[1],
        noise.window(**{**WHOLE, "seed": 2})[0],
        noise.window(**{**WHOLE, "stream": noise.CLASSES})[0],
        np.roll(whole[0], noise.BLOCK, axis=0),
        np.roll(whole[0], noise.BLOCK, axis=1),
        whole[0, ..., ::-1],
    ]
    for other in others:
        assert abs(np.corrcoef(whole[0].ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(whole[0].size)
    assert abs(whole.mean()) < 5 / np.sqrt(whole.size) and abs(whole.std() - 1) < 5 / np.sqrt(2 * whole.size)
