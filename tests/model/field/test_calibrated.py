"""Fluxes and shapes beyond the mask: the fit on made-up objects, its coverage on others, and what is left out."""

import dataclasses
import json

import numpy as np
import pytest

from blendinator.model.field import calibrated
from blendinator.model.field.calibrated import LEVELS, Measured, apply, calibrate, fit, load, measured


def objects(seed, count=8000):
    """Objects of which a third of the flux, and more for faint ones, is missing from the mask, with scatter."""
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.uniform(np.log(3), np.log(400), count))
    brightness = np.exp(rng.normal(0.3 * np.log(snr), 0.2))
    flux = snr * 100
    missing = 0.3 + 1.5 / np.sqrt(snr) + 0.2 / brightness
    truth = flux * np.exp(missing + rng.normal(0, 1 / np.sqrt(snr)))
    return Measured(flux, flux / snr, snr, brightness), truth


def test_the_intervals_hold_on_other_objects():
    entry = fit("total_flux", *objects(1))
    of, truth = objects(2)
    found = apply("total_flux", of, entry)
    known = np.isfinite(found["total_flux"])
    np.testing.assert_array_equal(known, of.snr >= calibrated.NODES[0])
    for low, high in ((4, 10), (10, 50), (50, 400)):
        part = known & (of.snr >= low) & (of.snr < high)
        assert np.median(found["total_flux"][part] / truth[part]) == pytest.approx(1, abs=0.03)
        for name, share in (("68", 0.68), ("95", 0.95)):
            inside = (truth >= found[f"total_flux_lo{name}"]) & (truth <= found[f"total_flux_hi{name}"])
            assert np.mean(inside[part]) == pytest.approx(share, abs=0.04)


def test_samples_that_disagree_widen_the_interval():
    of, truth = objects(1)
    entry = fit("total_flux", of, truth)
    two = Measured(np.full(3, 2000.0), np.array([50.0, 100.0, 200.0]), np.full(3, 20.0), np.full(3, 3.0))
    width = np.diff([apply("total_flux", two, entry)[f"total_flux_{end}"] for end in ("lo68", "hi68")], axis=0)[0]
    assert width[0] < width[1] < width[2] < 2 * width[0]


def blends(seed, count=8000):
    """Objects whose truth is lower and three times as uncertain where a second source is sure."""
    rng = np.random.default_rng((seed, 1))
    of, _ = objects(seed, count)
    second = rng.uniform(0, 1, count)
    truth = of.value * np.exp(rng.normal(-0.5 * second, 0.1 * 3**second))
    return dataclasses.replace(of, second=second), truth


def test_a_probable_second_source_moves_and_widens_the_interval():
    entry = fit("total_flux", *blends(1))
    assert entry["widening"] == pytest.approx(np.log(3), abs=0.15)
    of, truth = blends(2)
    found = apply("total_flux", of, entry)
    for part in (of.second < 0.2, of.second > 0.8):
        known = part & np.isfinite(found["total_flux"])
        assert np.median(found["total_flux"][known] / truth[known]) == pytest.approx(1, abs=0.04)
        inside = (truth >= found["total_flux_lo68"]) & (truth <= found["total_flux_hi68"])
        assert np.mean(inside[known]) == pytest.approx(0.68, abs=0.05)


def columns():
    """Three objects and a blend, with the columns of the catalogue."""
    out = {
        "kind": np.array(["object", "object", "object", "blend"]),
        "p_blend": np.array([0.0, 0.9, 0.0, 1.0]),
        "area": np.array([100.0, 100.0, 4.0, 100.0]),
        "footprint": np.array([100, 100, 4, 100]),
        "blended_area": np.array([0.0, 30.0, 0.0, 100.0]),
        "semimajor": np.array([6.0, 12.0, 1.2, 6.0]),
        "semiminor": np.array([5.3, 4.0, 1.1, 5.3]),
        "sky_variance": np.full(4, 25.0),
    }
    for name, value in {
        "flux": [5000.0, 5000.0, 10.0, 5000.0],
        "half_light_radius": [3.0, 3.0, 1.0, np.nan],
        "ellipticity": [0.2, 0.2, 0.2, np.nan],
        "concentration": [2.5, 2.5, 2.5, np.nan],
    }.items():
        out.update({f"{name}{end}": np.array(value) * (1 + 0.1 * (level - 0.5)) for end, level in LEVELS.items()})
    return out


def test_signal_to_noise_by_hand():
    of = measured(columns(), "total_flux")
    np.testing.assert_allclose(of.snr[[0, 2]], [5000 / np.sqrt(2500 + 5000), 10 / np.sqrt(110)])
    np.testing.assert_allclose(measured(columns(), "ellipticity", poisson=False).snr[0], 100)
    np.testing.assert_allclose(of.brightness[0], 10)
    np.testing.assert_allclose(measured(columns(), "ellipticity").width[0], 0.2 * 0.1 * 0.34)


def test_what_has_no_meaning_or_is_not_known_is_left_out():
    table = load()
    assert table is not None
    found = calibrate(columns(), table)
    assert np.isfinite(found["total_flux"]).tolist() == [True, True, False, False]  # faint; a blend's row
    assert found["total_flux"][0] > 5000 and found["half_light_radius"][0] > 3
    for name in calibrated.SHAPES:
        assert np.isfinite(found[name]).tolist() == [True, False, False, False]  # of one galaxy
        assert found[f"{name}_lo95"][0] < found[f"{name}_lo68"][0] < found[name][0] < found[f"{name}_hi68"][0]
    without = calibrate(columns(), None)
    assert "total_flux" not in without and "ellipticity_lo68" not in without and "flux" in without


def test_shapes_are_those_of_objects_with_one_source():
    zeros = [0.0] * 6
    entry = {"any": [9.0, *zeros], "third": [0.0, *zeros], "blendedness": [0.0, *zeros]}
    entry |= {
        "second": [0.0, 0.0, 10.0, -0.7, 0.0, 0.0, 0.0],
        "left": np.linspace(-1, 1, 11).tolist(),
        "spread": [0.0, 0.0],
    }
    found = calibrate(columns(), {**load(), "sources": entry})
    # The log odds of a second source are 10 P(blend) - 0.7 log area: -3.2 and 5.8; too faint; a blend's row.
    assert found["p_one"] == pytest.approx(
        [1 / (1 + np.exp(-3.224)), 1 / (1 + np.exp(5.776)), np.nan, np.nan], nan_ok=True, rel=1e-3
    )
    assert np.isfinite(found["ellipticity"]).tolist() == [True, False, False, False]
    assert found["blendedness"][0] == 0 and found["blendedness"][1] > 0.3
    assert found["blendedness_lo68"][1] < found["blendedness"][1] < found["blendedness_hi68"][1]


def test_a_table_that_knows_no_sources():
    of, truth = objects(1)
    round_ones = dataclasses.replace(of, value=np.random.default_rng(5).uniform(0, 0.4, len(truth)))
    quantities = {"total_flux": fit("total_flux", of, truth)}
    quantities["ellipticity"] = fit("ellipticity", round_ones, round_ones.value * 0.9)
    found = calibrate(columns(), {"quantities": quantities})
    assert "p_one" not in found and "blendedness" not in found
    assert np.isfinite(found["total_flux"]).tolist() == [True, True, False, False]
    assert np.isfinite(found["ellipticity"]).tolist() == [True, False, False, False]  # P(blend) < 0.5


def test_a_table_of_another_format_is_not_used(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"format": 0}))
    assert load(tmp_path / "t.json") is None and load(tmp_path / "none.json") is None
