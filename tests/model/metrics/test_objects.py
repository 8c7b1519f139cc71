import numpy as np

from blendinator.model.metrics import objects


def test_recognised_blends_by_hand():
    true, predicted = np.zeros((2, 6, 8), bool), np.zeros((2, 6, 8), bool)
    true[0, 0, 0:4] = True  # half of it predicted: recognised
    predicted[0, 0, 2:4] = True  # all of it true: right
    true[0, 3, 0:4] = True  # a quarter predicted: missed
    predicted[0, 3, 3:7] = True  # a quarter true: wrong
    true[1, 5, 5] = True  # nothing predicted
    counts = objects.recognised_blends(objects.Groups.of(true), predicted, 0.5)
    assert {name: value.tolist() for name, value in counts.items()} == {
        "true": [2, 1],
        "recognised": [1, 0],
        "predicted": [2, 0],
        "matched": [1, 0],
    }


def test_no_blends_at_all():
    empty = np.zeros((2, 4, 4), bool)
    counts = objects.recognised_blends(objects.Groups.of(empty), empty, 0.5)
    assert all(value.tolist() == [0, 0] for value in counts.values())


def test_groups_touch_at_corners_but_not_across_maps():
    maps = np.zeros((2, 3, 3), bool)
    maps[0, 2, 2] = maps[1, 0, 0] = maps[1, 1, 1] = True
    groups = objects.Groups.of(maps)
    assert groups.size.tolist() == [1, 2]
    assert groups.owner.tolist() == [0, 1]
