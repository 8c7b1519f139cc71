"""Connected components of a field that comes in strips of rows, and sums over them.

A strip is labelled together with a few rows of its neighbours. Labels of the same pixel in two strips are one
component, which a union-find keeps; sums over a component are those of its parts. Only the last rows are remembered, so
memory does not grow with the field but with the number of components.
"""

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner belong together


class UnionFind:
    """Sets of integers 0..n-1 that can be joined."""

    def __init__(self) -> None:
        self._parent = np.zeros(0, np.int64)

    def grow(self, count: int) -> int:
        """Adds `count` sets of one member each; returns the first."""
        first = len(self._parent)
        self._parent = np.concatenate((self._parent, np.arange(first, first + count)))
        return first

    def join(self, a: int, b: int) -> None:
        """Joins the sets of two members under the smaller root."""
        a, b = self.root(a), self.root(b)
        self._parent[max(a, b)] = min(a, b)

    def roots(self) -> np.ndarray:
        """Root of every member: a root is never larger than its members, so one pass is enough."""
        for i, parent in enumerate(self._parent):
            self._parent[i] = self._parent[parent]
        return self._parent

    def root(self, member: int) -> int:
        """The smallest number of a member's set."""
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return int(member)


class StripLabeller:
    """Labels of one binary map, strip by strip.

    Args:
      reach: pixels by which a component's region is grown: each pixel within it belongs to the nearest component.
    """

    def __init__(self, reach: int) -> None:
        self.reach, self.sets = reach, UnionFind()
        self._labels: np.ndarray | None = None
        self._first_row = 0

    def label(self, mask: np.ndarray, first_row: int) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Labels a strip that overlaps the last one.

        Args:
          mask: bool [rows, W].
          first_row: of the strip in the field; at least one row of the last strip must be in it again.

        Returns:
          Footprints and grown regions, int32 [rows, W], 0 where there is none, else 1 + the number of the component
          within this strip; the first component's number in the field, and how many there are.
        """
        labels, count = ndimage.label(mask, EIGHT)
        first = self.sets.grow(count)
        if self._labels is not None:
            old = self._labels[first_row - self._first_row :]
            new = labels[: len(old)]
            both = (old > 0) & (new > 0)
            for a, b in np.unique(np.stack((old[both], new[both] + first), axis=1), axis=0):
                self.sets.join(int(a) - 1, int(b) - 1)
        # Labels of the field, 1 + number, of the rows that the next strip may see again.
        self._labels = np.where(labels > 0, labels.astype(np.int64) + first, 0)
        self._first_row = first_row
        return labels, self._grown(labels), first, count

    def _grown(self, labels: np.ndarray) -> np.ndarray:
        if not labels.any():
            return labels
        distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
        return np.where(distance <= self.reach, labels[tuple(nearest)], 0)


def sums(labels: np.ndarray, count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum of the weights (or number of pixels) of each label 1..count, float64 [count]."""
    return np.bincount(labels, weights, minlength=count + 1)[1:].astype(np.float64)
