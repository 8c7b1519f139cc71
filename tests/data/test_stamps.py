"""Library of stamps: what is refused, which galaxies get one, and that a rendered stamp is the galaxy it came from."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from blendinator.config import SimulationConfig
from blendinator.data import simulate
from blendinator.data.population import sample_galaxies
from blendinator.data.scene import Simulator
from blendinator.data.sources import NO_STAMP, STAR
from blendinator.data.stamps import StampRenderer, read_stamps
from blendinator.errors import DataError

SIGMA = 4.0  # pixels of a Gaussian "galaxy"; its half-light radius is 1.17741 sigma
SCALE = 0.05


def gaussian(side=65):
    across = np.arange(side) - side // 2
    return np.exp(-0.5 * (across[:, None] ** 2 + across[None, :] ** 2) / SIGMA**2)


def write(path, images=None, **header):
    keys = {"PIXSCALE": SCALE, "FWHM": 0.08, "R50": 1.17741 * SIGMA * SCALE, **header}
    images = [gaussian()] if images is None else images
    hdus = [fits.ImageHDU(image.astype(np.float32)) for image in images]
    for hdu in hdus:
        hdu.header.update({name: value for name, value in keys.items() if value is not None})
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


def galaxies(count, magnitude=21.0):
    return sample_galaxies(np.random.default_rng(1), np.full(count, magnitude))


def test_stamps_of_a_file(tmp_path):
    stamps = read_stamps(write(tmp_path / "stamps.fits", [gaussian(), 3.0 * gaussian(33)]), 0.17)
    assert [pixels.shape for pixels in stamps.pixels] == [(65, 65), (33, 33)]
    assert [pixels.sum() for pixels in stamps.pixels] == pytest.approx([1.0, 1.0])
    assert stamps.provenance["stamps"] == 2 and stamps.provenance["blunt"] == 0


def test_blunt_stamps_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "stamps.fits", [gaussian(), gaussian()])
    with fits.open(path, mode="update") as file:
        file[1].header["FWHM"] = 0.9
    assert read_stamps(path, 0.17).provenance == {**read_stamps(path, 1.0).provenance, "stamps": 1, "blunt": 1}


@pytest.mark.parametrize(
    ("images", "header", "message"),
    [
        ([gaussian()], {"R50": None}, r"stamps.fits\[1\]: R50 is None; allowed: a number above 0"),
        ([gaussian()], {"FWHM": -1.0}, r"FWHM is -1.0; allowed"),
        ([gaussian() * np.nan], {}, r"stamps.fits\[1\]: this is not an image of a galaxy"),
        ([gaussian()], {"FWHM": 0.5}, r"no stamp can be used: 1 images, 1 of them not sharper .*0.17 arcsec"),
        ([], {}, r"no stamp can be used: 0 images"),
    ],
)
def test_libraries_that_are_refused(tmp_path, images, header, message):
    with pytest.raises(DataError, match=message):
        read_stamps(write(tmp_path / "stamps.fits", images, **header), 0.17)


def test_a_file_that_is_not_fits(tmp_path):
    (tmp_path / "stamps.fits").write_text("no image")
    with pytest.raises(DataError, match="stamps.fits: this library of stamps cannot be read"):
        read_stamps(tmp_path / "stamps.fits", 0.17)


def test_which_galaxies_get_a_stamp(tmp_path):
    stamps = read_stamps(write(tmp_path / "stamps.fits", [gaussian()] * 3), 0.17)
    choose = lambda sources, share=1.0: stamps.choose(np.random.default_rng(1), sources, 0.17, share, 24.5).stamp
    bright = choose(galaxies(300))
    assert set(bright) - {NO_STAMP} == {0, 1, 2}
    assert np.mean(choose(galaxies(300), 0.4) != NO_STAMP) == pytest.approx(0.4 * np.mean(bright != NO_STAMP), abs=0.08)
    assert (choose(galaxies(300, 25.0)) == NO_STAMP).all()
    assert (choose(galaxies(300).replace(kind=np.full(300, STAR))) == NO_STAMP).all()
    # At twice its own size a stamp is 0.16 arcsec sharp, at 2.1 times it is too blunt.
    size = 1.17741 * SIGMA * SCALE
    for zoom, expected in ((1.9, True), (2.1, False)):
        one = galaxies(1)
        one = one.replace(radius=np.full((1, 2), zoom * size))
        assert (choose(one)[0] != NO_STAMP) == expected


def test_a_rendered_stamp_has_flux_place_and_size(tmp_path):
    stamps = read_stamps(write(tmp_path / "stamps.fits"), 0.17)
    half_light = stamps.half_light[0]
    one = galaxies(1).replace(x=np.array([30.0]), y=np.array([35.0]), stamp=np.array([0]), rotation=np.array([-0.7]))
    one = one.replace(radius=np.full((1, 2), 1.5 * half_light))
    image = StampRenderer(stamps, 0.1).render(one, [1000.0], [0.17], [0.0], [0.0], 64)[0].astype(float)
    y, x = np.mgrid[:64, :64]
    assert image.sum() == pytest.approx(1000.0, rel=1e-3)
    assert (image * x).sum() / image.sum() == pytest.approx(30.0, abs=0.02)
    assert (image * y).sum() / image.sum() == pytest.approx(35.0, abs=0.02)
    # Variances add: the stretched Gaussian, the kernel that completes the PSF, and the pixel.
    kernel = (0.17**2 - (1.5 * 0.08) ** 2) / (8.0 * np.log(2.0))
    expected = (1.5 * SIGMA * SCALE) ** 2 + kernel + 0.1**2 / 12.0
    assert 0.1**2 * (image * (x - 30.0) ** 2).sum() / image.sum() == pytest.approx(expected, rel=0.01)


def test_scenes_with_stamps(tmp_path):
    config = SimulationConfig(
        stamp_size=32,
        train_scenes=16,
        calibration_scenes=1,
        test_scenes=1,
        train_populations={"boosted": 1.0},
        stamps=str(write(tmp_path / "stamps.fits")),
    )
    simulator = Simulator.configured(config)
    sources = [simulator.sample(1, number).sources for number in range(16)]
    used = [one.stamp != NO_STAMP for one in sources]
    assert any(map(np.any, used))
    assert not any(one.blobs[row].any() for one, rows in zip(sources, used) for row in np.flatnonzero(rows))
    manifest = simulate.simulate_span(config, tmp_path / "data", 1, workers=1)
    assert manifest["stamps"]["stamps"] == 1
    # The same library under another name is the same span.
    other = tmp_path / "other.fits"
    other.write_bytes((tmp_path / "stamps.fits").read_bytes())
    again = dataclasses.replace(config, stamps=str(other))
    assert simulate.simulate_span(again, tmp_path / "data", 1, workers=1)["files"] == manifest["files"]
