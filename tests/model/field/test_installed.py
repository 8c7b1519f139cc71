"""The installed package segments, in a folder whose files bear the names of its parts."""

import numpy as np

SCRIPT = """
import sys
import numpy as np
from blendinator import Segmenter
maps = Segmenter.load(sys.argv[1], tile=32).sample(np.load(sys.argv[2]), 2, seed=1)
np.save(sys.argv[3], maps.samples)
"""


def test_the_installed_package_gives_the_same_maps(installed, pushed, segmenter, image):
    np.save(installed.home / "image.npy", image)
    installed("-c", SCRIPT, pushed, "image.npy", "samples.npy")
    expected = segmenter.sample(image, 2, seed=1).samples
    np.testing.assert_array_equal(np.load(installed.home / "samples.npy"), expected)
