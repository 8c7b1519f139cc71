"""Regions: DS9's text by hand."""

import numpy as np

from blendinator.model.field.regions import to_regions

COLUMNS = {
    "id": np.array([1, 2, 3]),
    "kind": np.array(["object", "object", "blend"]),
    "p_blend": np.array([0.1, 0.5, 1.0]),
    "x": np.array([0.0, 9.5, 9.0]),
    "y": np.array([4.0, 8.25, 8.0]),
    "semimajor": np.array([3.0, 4.0, 1.0]),
    "semiminor": np.array([2.0, 4.0, 0.5]),
    "theta": np.array([-30.0, 0.0, 45.0]),
}


def test_by_hand():
    text = to_regions(COLUMNS)
    assert text.startswith("# Region file format: DS9")
    lines = text.splitlines()
    assert lines[-4:] == [
        "image",
        "ellipse(1.00,5.00,3.00,2.00,-30.0) # color=cyan text={1} tag={object}",
        "ellipse(10.50,9.25,4.00,4.00,0.0) # color=yellow text={2} tag={blended}",
        "ellipse(10.00,9.00,1.00,0.50,45.0) # color=red text={3} tag={blend}",
    ]


def test_the_regions_package_reads_it():
    regions = __import__("pytest").importorskip("regions")
    found = regions.Regions.parse(to_regions(COLUMNS), format="ds9")
    assert len(found) == 3 and found[1].center.x == 9.5 and found[0].width == 6.0
    assert str(found[2].meta["text"]) == "3" and found[2].meta["tag"] == ["blend"]


def test_an_empty_catalogue():
    assert to_regions({name: value[:0] for name, value in COLUMNS.items()}).endswith("image\n")
