"""One table of the classes: what else names them follows from it."""

from pathlib import Path

from blendinator.data.classes import CLASSES
from blendinator.data.records import NUM_CLASSES
from blendinator.model.gallery import CLASS_COLORS
from blendinator.model.metrics.aggregate import CLASS_NAMES, metric_names

ROOT = Path(__file__).resolve().parents[2]


def test_their_order_is_that_of_the_masks():
    assert [one.name for one in CLASSES] == ["background", "galaxy", "blended"] and NUM_CLASSES == 3


def test_metrics_and_pictures_follow():
    assert tuple(one.name for one in CLASSES) == CLASS_NAMES
    assert {f"iou_{one.name}" for one in CLASSES} <= set(metric_names(16))
    assert CLASS_COLORS.shape == (NUM_CLASSES, 3) and CLASS_COLORS.min() >= 0 and CLASS_COLORS.max() <= 1


def test_the_pages_call_them_by_their_labels():
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert all(f"{number} {one.label}" in page for number, one in enumerate(CLASSES))
