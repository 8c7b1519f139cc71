"""The catalogue as regions for DS9 and the programs that read its files."""

from collections.abc import Iterable

import numpy as np

LEAST = 0.5  # P(blend) from which on an object counts as blended
# Class of a row: (colour, what it is)
CLASSES = {
    "object": ("cyan", "objects"),
    "blended": ("yellow", f"objects with P(blend) of at least {LEAST}"),
    "blend": ("red", "blends"),
}


def classes(kind: Iterable[str], p_blend: np.ndarray) -> list[str]:
    """The class of each row: "blend", or "blended" or "object" for objects."""
    return [
        "blend" if one == "blend" else "blended" if probability >= LEAST else "object"
        for one, probability in zip(kind, p_blend)
    ]


def to_regions(columns: dict[str, np.ndarray]) -> str:
    """DS9's text, one ellipse with the second moments of its footprint per row of the catalogue.

    Args:
      columns: id, kind, p_blend; x, y: centre, pixels from 0; semimajor, semiminor (pixels); theta (degrees).

    Returns:
      Regions in image coordinates, whose first pixel is (1, 1). Each has its id as text and its class as a tag, by
      which DS9 selects ("Region", "Groups"), and the class's colour.
    """
    names = "id", "x", "y", "semimajor", "semiminor", "theta"
    lines = [
        "# Region file format: DS9 version 4.1",
        *(f"# {color}: {text}" for color, text in CLASSES.values()),
        "global color=cyan width=1",
        "image",
    ]
    for label, number, x, y, a, b, angle in zip(
        classes(columns["kind"], columns["p_blend"]), *(columns[name] for name in names)
    ):
        lines.append(
            f"ellipse({x + 1:.2f},{y + 1:.2f},{a:.2f},{b:.2f},{angle:.1f}) # color={CLASSES[label][0]}"
            f" text={{{number}}} tag={{{label}}}"
        )
    return "\n".join(lines) + "\n"
