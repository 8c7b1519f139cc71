"""Sources: galaxies and stars, as a scene holds them and the renderers take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GALAXY, STAR = 0, 1  # kinds of source
NO_STAMP = -1


@dataclass(frozen=True)
class Sources:
    """G sources. A galaxy has two smooth components (0 disk, 1 bulge; a fraction of 0 means that there is none).

    Attributes:
      kind: GALAXY or STAR, int8 [G]; a star is a point, of which only position and magnitude are read.
      x, y: centre in pixels [G]; (0, 0) is the centre of the stamp's first pixel.
      magnitude: AB [G].
      flux_fraction: of the components [G, 2], each row sums to 1.
      radius: half-light radius in arcsec of the circle of equal area [G, 2].
      sersic_index: of the components [G, 2].
      axis_ratio: minor over major [G, 2].
      angle: of the major axis, radians from +x towards +y [G, 2].
      blobs: K Gaussian blobs that hold a part of a galaxy's light [G, K, 4]: offset from its centre in x and in y and
        sigma, in arcsec, and fraction of its flux, below 0 for dust. K may be 0.
      stamp: number of the image in a library of stamps that the galaxy is rendered from, NO_STAMP for its profile [G].
      rotation: of that image, radians; below 0 it is flipped first [G].
    """

    kind: np.ndarray
    x: np.ndarray
    y: np.ndarray
    magnitude: np.ndarray
    flux_fraction: np.ndarray
    radius: np.ndarray
    sersic_index: np.ndarray
    axis_ratio: np.ndarray
    angle: np.ndarray
    blobs: np.ndarray
    stamp: np.ndarray
    rotation: np.ndarray

    @staticmethod
    def make(**values: np.ndarray) -> "Sources":
        """Sources of these attributes, without blobs and stamps unless they are given."""
        count = len(values["x"])
        plain = {"blobs": np.zeros((count, 0, 4)), "stamp": np.full(count, NO_STAMP), "rotation": np.zeros(count)}
        return Sources(**{**plain, **values})

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Sources":
        """The sources of these rows (indices or booleans)."""
        return Sources(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def replace(self, **values: np.ndarray) -> "Sources":
        """A copy with these attributes."""
        return Sources(**{**{name: getattr(self, name) for name in self.__dataclass_fields__}, **values})

    @staticmethod
    def concatenate(parts: Sequence["Sources"]) -> "Sources":
        """All sources of these, in order."""
        return Sources(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in Sources.__dataclass_fields__)
        )

    @property
    def half_light(self) -> np.ndarray:
        """Flux-weighted half-light radius of the components, arcsec [G]."""
        return (self.flux_fraction * self.radius).sum(axis=1)
