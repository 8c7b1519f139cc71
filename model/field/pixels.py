"""The pixels of objects, kept while a field goes by until each object is whole."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from blendinator.model.field.components import UnionFind


class PixelStore:
    """Pixels of components by their number in the field; those of finished components are handed out and forgotten.

    Args:
      sets: which numbers belong together.
    """

    def __init__(self, sets: UnionFind) -> None:
        self._sets = sets
        self._chunks: list[dict[str, np.ndarray]] = []

    def add(self, number: np.ndarray, **values: np.ndarray) -> None:
        """Takes pixels: the component's number of each [P], and what is known of them, [P] or [P, ...] by name."""
        if len(number):
            self._chunks.append({"number": number, **values})

    def finished(self, open_numbers: np.ndarray) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """The root and the pixels of each component that has none of the open numbers, in order of the roots.

        Args:
          open_numbers: of the components that further rows may add to.
        """
        if not self._chunks:
            return
        every: Any = {name: np.concatenate([chunk[name] for chunk in self._chunks]) for name in self._chunks[0]}
        numbers, inverse = np.unique(every.pop("number"), return_inverse=True)
        roots = np.array([self._sets.root(number) for number in numbers])
        waiting = np.isin(roots, [self._sets.root(number) for number in open_numbers])[inverse]
        self._chunks = []
        if waiting.any():
            self.add(numbers[inverse[waiting]], **{name: value[waiting] for name, value in every.items()})
        chosen = np.flatnonzero(~waiting)
        chosen = chosen[np.argsort(roots[inverse[chosen]], kind="stable")]
        of = roots[inverse[chosen]]
        starts = np.flatnonzero(np.append(True, of[1:] != of[:-1])) if len(of) else np.zeros(0, int)
        for start, stop in zip(starts, np.append(starts[1:], len(of))):
            yield int(of[start]), {name: value[chosen[start:stop]] for name, value in every.items()}
