"""Blends as objects: connected groups of blended pixels, and how many of them are recognised."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

__all__ = ["Groups", "label_groups", "recognised_blends"]

_WITHIN_A_MAP = np.zeros((3, 3, 3), bool)
_WITHIN_A_MAP[1] = True  # 8 neighbours within a map, never between maps


class Groups(NamedTuple):
    """The connected groups of a batch of maps."""

    labels: np.ndarray  # [B, H, W], 0 outside, numbers rising from map to map
    size: np.ndarray  # [G] pixels
    owner: np.ndarray  # [G] number of the map

    @classmethod
    def of(cls, maps: np.ndarray) -> "Groups":
        """Groups of True in maps [B, H, W]."""
        labels, count = label_groups(maps)
        size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        # Labels rise in scan order: the highest one up to a map counts the groups of all maps before its end.
        last = np.maximum.accumulate(labels.reshape(len(maps), -1).max(1))
        return cls(labels, size, np.searchsorted(last, np.arange(1, count + 1)))

    def inside(self, maps: np.ndarray, share: float) -> np.ndarray:
        """Whether at least `share` of a group's pixels is True in `maps` [B, H, W]: [G]."""
        return np.bincount(self.labels[maps], minlength=len(self.size) + 1)[1:] >= share * self.size

    def count(self, which: np.ndarray | None = None) -> np.ndarray:
        """Groups, or those chosen by `which` [G], in each map: [B]."""
        return np.bincount(self.owner if which is None else self.owner[which], minlength=len(self.labels))


def recognised_blends(true: Groups, predicted: np.ndarray, overlap: float) -> dict[str, np.ndarray]:
    """Counts of true and of predicted blends, and of those that agree.

    A true blend is recognised when at least the share `overlap` of its pixels is predicted; a predicted one is matched
    when at least that share of its pixels is truly blended. So no pairing is needed where blends touch or fall apart.

    Args:
      true: groups of truly blended pixels.
      predicted: [B, H, W] bool.
      overlap: above 0, at most 1.

    Returns:
      `true`, `recognised`, `predicted` and `matched`: counts [B].
    """
    claimed = Groups.of(predicted)
    return {
        "true": true.count(),
        "recognised": true.count(true.inside(predicted, overlap)),
        "predicted": claimed.count(),
        "matched": claimed.count(claimed.inside(true.labels > 0, overlap)),
    }


def label_groups(maps: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers each connected group of True in maps [M, H, W], rising from map to map; 0 is outside."""
    return ndimage.label(maps, _WITHIN_A_MAP)
