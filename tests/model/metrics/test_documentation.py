import itertools
import re
from pathlib import Path

from blendinator.model.metrics.aggregate import metric_names

DOCUMENT = Path(__file__).parents[3] / "docs" / "calibration.md"


def documented():
    """Names in backticks, with {a,b} spelt out."""
    names = set()
    for name in re.findall(r"`([^`\s]+)`", DOCUMENT.read_text(encoding="utf-8")):
        parts = [part.split(",") for part in re.split(r"[{}]", name)]
        names |= {"".join(choice) for choice in itertools.product(*parts)}
    return names


def test_every_metric_is_documented():
    names = documented()
    missing = [
        name
        for name in metric_names(16)
        if not {name, name.removesuffix("_independent"), name.removesuffix("_map")} & names
    ]
    assert missing == []
