"""The bands of an exported model's images: how many its signatures take, and in which shape.

Inside, images are [B, H, W, C] throughout. A model of one band takes them without the last axis, as servers and their
clients have always sent them; one of more takes [B, H, W, C].
"""

from typing import Any

import numpy as np

from blendinator.errors import DataError

__all__ = ["count_bands", "served_image"]


def count_bands(signature: Any) -> int:
    """C, from the shape of `image` in a signature of a loaded SavedModel."""
    shape = signature.structured_input_signature[1]["image"].shape
    return 1 if shape.rank == 3 else shape[-1]


def served_image(image: np.ndarray, bands: int) -> np.ndarray:
    """Images [B, H, W, C] as the signatures of a model of so many bands take them.

    Raises:
      DataError: they are of another number of bands.
    """
    if image.ndim != 4 or image.shape[-1] != bands:
        raise DataError(
            f"images: received the shape {list(image.shape)}; allowed: [B, H, W, {bands}], the bands of the model. "
            "Give images of the survey that it was trained for."
        )
    return image[..., 0] if bands == 1 else image
