"""Stars: counts, diffraction pattern, saturation."""

import numpy as np
import pytest

from blendinator.config import SimulationConfig, StarConfig
from blendinator.data.scene import Simulator
from blendinator.data.stars import Optics, cumulative_counts, points, sample_stars, saturate


def test_counts_are_those_of_the_table_and_log_linear_between():
    np.testing.assert_allclose(cumulative_counts([18.0, 20.0, 24.5, 26.0], 50.0), [0.41, 0.91, 3.1, 4.1])
    assert cumulative_counts(19.0, 50.0) == pytest.approx(np.sqrt(0.41 * 0.91))
    assert cumulative_counts(16.0, 50.0) == pytest.approx(0.41**2 / 0.91)  # the same slope beyond the table
    assert cumulative_counts(18.0, 40.0) == pytest.approx((0.71 + 0.41) / 2)  # linear in latitude


def test_number_and_magnitudes_follow_the_counts():
    config = StarConfig(density_scale=2.0, galactic_latitude=30.0)
    stars = sample_stars(np.random.default_rng(1), config, 6000, 0.1, 0.0)  # 100 arcmin^2
    assert len(stars) == pytest.approx(2.0 * 910, abs=4 * np.sqrt(1820))
    assert np.sum(stars.magnitude < 20.0) == pytest.approx(2.0 * 177, abs=4 * np.sqrt(354))
    assert stars.magnitude.min() >= 15.0 and stars.magnitude.max() <= 26.0


BLURRED = Optics(0.0, 1.0)


def star(magnitude, optics=BLURRED, size=255):
    simulator = Simulator(SimulationConfig())
    middle = (size - 1) / 2
    sources = points([middle], [middle], [magnitude])
    return simulator, simulator.render(
        sources, np.zeros(1), [np.full(1, 0.17), np.zeros(1), np.zeros(1)], [optics], size
    )[0]


@pytest.mark.parametrize("blur", [0.0, 0.5, 1.0])
def test_a_star_keeps_its_flux_and_its_place(blur):
    simulator, image = star(20.0, Optics(0.3, blur))
    assert image.sum() == pytest.approx(simulator.survey.flux(20.0), rel=0.03)
    assert np.unravel_index(image.argmax(), image.shape) == (127, 127)


def test_the_sharp_core_holds_more():
    peaks = [star(20.0, Optics(0.3, blur))[1].max() for blur in (0.0, 0.5, 1.0)]
    assert peaks[0] > peaks[1] > peaks[2] and peaks[1] == pytest.approx((peaks[0] + peaks[2]) / 2)


def test_three_struts_give_six_spikes():
    _, image = star(18.0)
    azimuth = np.radians(np.arange(360))
    ring = np.mean(
        [
            image[np.rint(127 + r * np.sin(azimuth)).astype(int), np.rint(127 + r * np.cos(azimuth)).astype(int)]
            for r in range(30, 60)
        ],
        axis=0,
    )
    power = np.abs(np.fft.rfft(ring / ring.mean())) ** 2
    assert power[1:30].argmax() + 1 == 6


def test_the_spikes_turn_with_the_spider():
    _, straight = star(18.0)
    _, turned = star(18.0, Optics(np.radians(30.0), 1.0))
    ring = (np.hypot(*np.mgrid[-127:128, -127:128]) > 30) & (straight > 0)
    assert np.corrcoef(straight[ring], turned[ring])[0, 1] < 0.5
    _, whole = star(18.0, Optics(np.radians(60.0), 1.0))
    assert np.corrcoef(straight[ring], whole[ring])[0, 1] > 0.95


def test_charge_spills_along_the_column():
    image = np.zeros((7, 3))
    image[3, 1], image[2, 1] = 35.0, 4.0
    out = saturate(image, 10.0)
    np.testing.assert_array_equal(out[:, 1], [0, 9, 10, 10, 10, 0, 0])  # 25 spill: 6 + 10 to the nearest, 9 further
    assert not out[:, [0, 2]].any() and out.sum() == image.sum()


def test_what_is_not_saturated_is_returned_as_it_is():
    image = np.full((4, 4), 3.0)
    assert saturate(image, 10.0) is image


def test_bright_euclid_stars_saturate_near_magnitude_18():
    simulator, image = star(18.4)
    assert image.max() < simulator.survey.saturation
    simulator, image = star(17.3)
    assert image.max() > simulator.survey.saturation
