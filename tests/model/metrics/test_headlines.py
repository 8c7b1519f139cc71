"""The metrics that are shown are metrics that are computed, and shown in the direction in which they are judged."""

import pytest

from blendinator.model.metrics.aggregate import lower_is_better, metric_names
from blendinator.model.metrics.headlines import HEADLINES


@pytest.mark.parametrize("headline", HEADLINES, ids=lambda headline: headline.name)
def test_a_headline_is_a_metric_with_its_direction(headline):
    assert headline.name in metric_names(num_samples=16)
    direction = {True: "↓", False: "↑"}.get(lower_is_better(headline.name))
    assert headline.better == direction if direction else headline.better not in ("↑", "↓")


def test_names_are_there_once():
    names = [headline.name for headline in HEADLINES]
    assert len(set(names)) == len(names)


def test_what_lists_and_the_card_show():
    listed = [headline.name for headline in HEADLINES if headline.listed]
    assert listed == ["iou_galaxy", "iou_blended", "ece_near_sources", "ged"]
    assert sum(headline.card for headline in HEADLINES) == 9
