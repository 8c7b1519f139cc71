"""The catalogue: by hand on a few pixels, and the same however the rows are cut."""

import itertools

import numpy as np
import pytest
from astropy.table import Table
from scipy import ndimage

from blendinator.model.field.catalogue import EDGE, MISSING, Cataloguer, Settings, intervals
from blendinator.model.field.columns import to_table


def catalogue(maps, cuts, settings=Settings(min_pixels=1, reach=2), truth=None, labels=None):
    shape = maps["class_map"].shape
    write = None if labels is None else lambda top, part: labels.__setitem__(slice(top, top + len(part)), part)
    cataloguer = Cataloguer(shape, len(maps["samples"]), settings, lambda start, stop: 2.0, truth, write)
    for top, bottom in itertools.pairwise(cuts):
        cataloguer.write(
            top,
            {name: value[:, top:bottom] if name == "samples" else value[top:bottom] for name, value in maps.items()},
        )
    found = cataloguer.finish()
    if labels is not None:
        labels[:] = cataloguer.ids[labels]
    return found


@pytest.fixture
def one_object():
    """A footprint of 2 x 3 pixels with a blend of 1 x 2, ten electrons a pixel; three samples."""
    probabilities = np.zeros((12, 14, 3), np.float32)
    probabilities[..., 0] = 1
    probabilities[4:6, 5:8] = (0.1, 0.9, 0.0)
    probabilities[4, 5:7] = (0.0, 0.4, 0.6)
    samples = np.zeros((3, 12, 14), np.uint8)
    samples[:, 4:6, 5:8] = 1  # 6 pixels each
    samples[0, 4, 5:7] = 2
    samples[1, 4, 5:8] = 2
    samples[1, 3, 5] = 1  # beyond the footprint, within its region
    samples[2, 0, 0] = 1  # far away: not the object's
    image = np.zeros((12, 14), np.float32)
    image[4:6, 5:8] = 10.0
    return {
        "probabilities": probabilities,
        "class_map": probabilities.argmax(-1).astype(np.uint8),
        "image": image,
        "samples": samples,
    }


def test_by_hand(one_object):
    columns, owners = catalogue(one_object, [0, 12], truth=np.array([[6.2, 4.1], [0.0, 0.0], [90.0, 3.0]]))
    assert columns["kind"].tolist() == ["object", "blend"] and columns["parent"].tolist() == [0, 1]
    assert columns["footprint"].tolist() == [6, 2] and owners.tolist() == [0, -1, -1]
    assert (columns["x"][0], columns["y"][0]) == (6.0, 4.5) and (columns["x"][1], columns["y"][1]) == (5.5, 4.0)
    # A rectangle of 3 x 2 pixels: variances of 9/12 and 4/12.
    np.testing.assert_allclose(columns["semimajor"], [np.sqrt(3), 2 * np.sqrt(4 / 12)])
    np.testing.assert_allclose(columns["semiminor"], [2 * np.sqrt(4 / 12), 2 * np.sqrt(1 / 12)])
    np.testing.assert_allclose(columns["theta"], 0, atol=1e-6)
    assert columns["area"].tolist() == [6, 2] and columns["area_hi95"][0] == pytest.approx(6.95)  # of 6, 7, 6
    assert columns["blended_area"].tolist() == [2, 2]  # of 2, 3, 0
    assert columns["flux"].tolist() == [60, 20]
    assert columns["p_exists"].tolist() == pytest.approx([1, 2 / 3])
    assert columns["p_blend"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert columns["flags"].tolist() == [0, 0] and columns["sky_variance"].tolist() == [4, 4]


def test_flags(one_object):
    moved = {name: np.roll(value, -5, axis=2 if name == "samples" else 1) for name, value in one_object.items()}
    moved["class_map"][7, 2] = 255
    columns, _ = catalogue(moved, [0, 12])
    assert columns["flags"].tolist()[0] == EDGE | MISSING


def random_maps():
    rng = np.random.default_rng(0)
    height, width, draws = 120, 90, 5
    field = ndimage.gaussian_filter(rng.normal(size=(height, width)), 3)
    foreground = 1 / (1 + np.exp(-3 * (field / field.std() - 1)))
    blended = 0.9 * foreground * (field > 1.7 * field.std())
    probabilities = np.stack([1 - foreground, foreground - blended, blended], axis=-1).astype(np.float32)
    u = rng.random((draws, height, width))
    samples = ((u > probabilities[..., 0]).astype(np.uint8) + (u > 1 - blended)).astype(np.uint8)
    maps = {
        "probabilities": probabilities,
        "class_map": probabilities.argmax(-1).astype(np.uint8),
        "image": (50 * field).astype(np.float32),
        "samples": samples,
    }
    maps["class_map"][50:60, 20:30], maps["samples"][:, 50:60, 20:30] = 255, 255
    maps["probabilities"][50:60, 20:30], maps["image"][50:60, 20:30] = np.nan, np.nan
    return maps


@pytest.mark.parametrize("cuts", [[0, 60, 120], [0, 8, 16, 50, 51, 52, 110, 120], [*range(0, 120, 3), 120]])
def test_rows_may_come_in_any_pieces(cuts):
    maps, truth = random_maps(), np.random.default_rng(1).uniform(0, 90, (50, 2))
    (whole, owners), (pieces, found) = (catalogue(maps, cut, truth=truth) for cut in ([0, 120], cuts))
    order, other = (np.lexsort((table["x"], table["y"], table["kind"])) for table in (whole, pieces))
    for name in set(whole) - {"id", "parent"}:
        np.testing.assert_allclose(
            *(
                table[name][rows].astype(float) if table[name].dtype.kind in "if" else 0
                for table, rows in ((whole, order), (pieces, other))
            ),
            err_msg=name,
        )
    assert len(whole["id"]) > 20 and (whole["kind"] == "blend").any()
    assert (whole["kind"] == "object").sum() == ndimage.label(
        np.nan_to_num(maps["probabilities"][..., 1:].sum(-1)) >= 0.5, np.ones((3, 3))
    )[1]
    np.testing.assert_array_equal(owners >= 0, found >= 0)
    np.testing.assert_allclose(whole["x"][owners[owners >= 0]], pieces["x"][found[found >= 0]])
    for table in (whole, pieces):  # a blend lies within its object's reach
        blend = table["kind"] == "blend"
        parents = table["parent"][blend] - 1
        assert (table["kind"][parents] == "object").all()
        assert (table["footprint"][parents] >= table["footprint"][blend]).all()


@pytest.mark.parametrize("cuts", [[0, 120], [0, 8, 16, 50, 51, 52, 110, 120]])
def test_labels_are_the_ids_of_the_rows(cuts):
    maps, labels = random_maps(), np.full((120, 90), -1)
    columns, _ = catalogue(maps, cuts, Settings(min_pixels=20), labels=labels)
    objects = columns["kind"] == "object"
    np.testing.assert_array_equal(np.unique(labels), [0, *columns["id"][objects]])
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], columns["footprint"][objects])


def test_the_ellipse_of_a_turned_bar():
    """Ten pixels on the diagonal: the axis points 45 degrees up, and its half length is about that of the bar."""
    probabilities = np.zeros((20, 20, 3), np.float32)
    for i in range(10):
        probabilities[5 + i, 5 + i, 1] = 1
    maps = {
        "probabilities": probabilities,
        "class_map": probabilities.argmax(-1).astype(np.uint8),
        "image": np.ones((20, 20), np.float32),
        "samples": np.zeros((1, 20, 20), np.uint8),
    }
    columns, _ = catalogue(maps, [0, 7, 20])
    assert columns["theta"][0] == pytest.approx(45)
    assert columns["semimajor"][0] == pytest.approx(2 * np.sqrt(2 * 99 / 12 + 1 / 12))  # 99/12: variance of 0 to 9
    assert columns["semiminor"][0] == pytest.approx(2 * np.sqrt(1 / 12))


def test_small_footprints_get_no_row(one_object):
    columns, _ = catalogue(one_object, [0, 12], Settings(min_pixels=3))
    assert columns["kind"].tolist() == ["object"]


def test_nothing_found():
    empty = {name: np.zeros_like(value) for name, value in random_maps().items()}
    columns, _ = catalogue(empty, [0, 60, 120])
    assert len(columns["id"]) == 0 and len(to_table(columns)) == 0


def test_intervals_by_hand():
    out = intervals("a", np.arange(101.0)[None])
    assert [out[name][0] for name in ("a", "a_lo68", "a_hi68", "a_lo95", "a_hi95")] == [50, 16, 84, 2.5, 97.5]


def test_table_has_units_and_survives_the_file(tmp_path, one_object, wcs_header):
    from blendinator.model.field.wcs import celestial

    columns, _ = catalogue(one_object, [0, 12])
    table = to_table(columns, wcs=celestial(wcs_header)[0], poisson=True, electron_magnitude=30.0, meta={"SEED": 3})
    table.write(tmp_path / "c.ecsv")
    read = Table.read(tmp_path / "c.ecsv")
    assert (read["x"][0], read["y"][0]) == (7.0, 5.5)  # the first pixel's centre is 1
    assert read["ra"][0] == pytest.approx(150 + 33 * 0.1 / 3600 / np.cos(np.radians(2)), abs=1e-6)
    assert [str(read[name].unit) for name in ("flux", "area_lo68", "ra")] == ["electron", "pix", "deg"]
    assert read["snr"][0] == pytest.approx(60 / np.sqrt(6 * 4 + 60), abs=1e-3)
    assert read["magnitude"][0] == pytest.approx(30 - 2.5 * np.log10(60), abs=1e-3)
    assert read.meta["SEED"] == 3 and "upper end of the central 95 %" in read["area_hi95"].description
