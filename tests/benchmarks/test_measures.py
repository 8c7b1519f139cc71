"""The truth of objects, the baselines' fluxes in them, and the tables: by hand."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def table(load_benchmark):
    return load_benchmark("measures_table")


def test_sources_that_count(load_benchmark):
    # Object 0 holds fluxes of 30, 10, 60 at x of 0, 1, 4 arcsec; 1 none; 2 a single one.
    row, flux = np.array([0, 0, 2, 0]), np.array([30.0, 10.0, 5.0, 60.0])
    xy = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0], [4.0, 3.0]])
    found = load_benchmark("measures_truth").counted(row, flux, xy, 3)
    assert found["true_sources"].tolist() == [3, 0, 1]
    np.testing.assert_allclose(found["true_blendedness"], [0.4, np.nan, 0.0])
    np.testing.assert_allclose(found["true_separation"], [5.0, np.nan, np.nan])  # of 60 and 30


def test_no_sources_at_all(load_benchmark):
    found = load_benchmark("measures_truth").counted(np.zeros(0, int), np.zeros(0), np.zeros((0, 2)), 2)
    assert found["true_sources"].tolist() == [0, 0] and np.isnan(found["true_blendedness"]).all()


def test_detections_are_summed_by_object(load_benchmark):
    region = np.zeros((4, 5), int)
    region[0, 0:2], region[3, 4] = 1, 2
    x, y = np.array([0.0, 1.2, 4.4, 2.0, 0.0]), np.array([0.0, 0.4, 3.0, 2.0, 0.0])
    flux, error = np.array([10.0, 5.0, 7.0, 99.0, np.nan]), np.array([3.0, 4.0, 1.0, 1.0, 1.0])
    found = load_benchmark("measures_baselines").summed(x, y, flux, error, region, 3)
    assert found["number"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(found["flux"], [15, 7, np.nan])
    np.testing.assert_allclose(found["error"], [5, 1, np.nan])


def test_sep_counts_a_neighbours_light_once(load_benchmark):
    y, x = np.mgrid[:60, :80]
    data = sum(50 * np.exp(-((x - c) ** 2 + (y - 30) ** 2) / 8) for c in (32, 42))  # 50 * 8 pi electrons each
    x, _, flux, error = load_benchmark("measures_baselines")._sep(data + 0.0, 1.0)
    assert sorted(np.rint(x)) == [32, 42] and flux.sum() == pytest.approx(2 * 400 * np.pi, rel=0.05)
    assert np.all(error > np.sqrt(flux))


def test_groups(table):
    rows = {
        "true_sources": np.array([0, 1, 2, 3]),
        "true_magnitude": np.array([np.inf, 22.0, 22.9, 25.0]),
        "true_separation": np.array([np.nan, np.nan, 0.5, 2.0]),
        "p_blend": np.array([0.9, 0.0, 0.2, 0.7]),
    }
    groups = {
        name: np.flatnonzero(one).tolist()
        for name, one in table.groups_of(rows, {"p_one": np.array([1.0, 1.0, 0.3, np.nan])}).items()
    }
    assert groups["22–23"] == [1, 2] and groups["25–26"] == [3] and groups["all"] == [1, 2, 3]
    assert groups["one source"] == [1] and groups["two or more"] == [2, 3]
    assert groups['two or more, 0.3–0.6"'] == [2] and groups["two or more, P(blend) < 0.5"] == [2]
    assert groups["P(blend) ≥ 0.5"] == [3]
    assert groups["p_one 0.2–0.5"] == [2] and groups["p_one 0.95–1.0"] == [1]


def test_coverage_of_ten_objects(table):
    truth, ones = np.arange(1.0, 11.0), np.ones(10)
    ends = {"": 5 * ones, "_lo68": 3 * ones, "_hi68": 7 * ones, "_lo95": 2 * ones, "_hi95": 9 * ones}
    lines = table.coverage("size", ends, truth, {"all": ones > 0, "few": truth > 2}, relative=False)
    assert lines[1:] == ["| all | 10 | -0.500 | 2.000 | 0.50 | 0.80 |"]  # truth 3-7 and 2-9; eight are too few


def test_reliability_by_hand(table):
    found = {"p_one": np.full(4, 0.7), "p_two": np.full(4, 0.2), "p_more": np.full(4, 0.1)}
    lines = table.reliability(found, np.array([1, 1, 2, 0]), np.array([22.5, 22.5, 23.5, np.inf]))
    assert "| 0.6–0.8 | 4 | 0.700 | 0.500 ± 0.250 | 0 | | | 0 | | |" in lines
    assert "| 22–23 | 2 | 0.700 | 1.000 ± 0.000 | 0.200 | 0.000 ± 0.000 | 0.100 | 0.000 ± 0.000 |" in lines
    assert any(line.startswith("| no source | 1 |") for line in lines)


def test_who_finds_the_second_source(table):
    rows = {"true_sources": np.array([2, 3, 1, 1]), "p_blend": np.array([0.0, 0.9, 0.9, 0.0])}
    rows |= {"sep_number": np.array([2, 1, 1, 1])}
    found = {"p_two": np.array([0.4, 0.5, 0.4, 0.0]), "p_more": np.array([0.2, 0.0, 0.0, 0.0])}
    lines = table.seconds(rows, found, {"two or more": np.ones(4, bool)})
    assert lines[2] == "| two or more | 2 | 1.00 | 0.50 | 0.50 |"
    assert lines[3] == "| of those said to, hold them | | 1.00 of 2 | 0.50 of 2 | 1.00 of 1 |"
