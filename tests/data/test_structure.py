"""Structure of galaxies: whose it is, how much, and that a galaxy keeps its light."""

import numpy as np
import pytest

from blendinator.config import SimulationConfig, StructureConfig
from blendinator.data.population import sample_galaxies
from blendinator.data.scene import Simulator
from blendinator.data.sources import STAR
from blendinator.data.structure import BLOBS, CHAIN, DUST, FRACTION, add_structure

ALL = StructureConfig(share=1.0, faintest=24.0)
MANY = 400


def galaxies(magnitude=21.0, count=MANY):
    return sample_galaxies(np.random.default_rng(1), np.full(count, magnitude))


def structured(config=ALL, sources=None):
    sources = galaxies() if sources is None else sources
    return add_structure(np.random.default_rng(2), sources, np.full(len(sources), 30.0), config)


def test_the_share_of_galaxies_with_structure():
    sources = structured(StructureConfig(share=0.3))
    share = np.mean((sources.blobs[..., FRACTION] != 0.0).any(axis=1))
    assert share == pytest.approx(0.3 * np.mean((structured().blobs[..., FRACTION] != 0.0).any(axis=1)), abs=0.06)


def test_faint_galaxies_and_stars_stay_as_they_are():
    assert not structured(sources=galaxies(24.5)).blobs.any()
    stars = galaxies().replace(kind=np.full(MANY, STAR, np.int8))
    assert not structured(sources=stars).blobs.any()
    assert structured(StructureConfig(share=0.0)).blobs.shape == (MANY, 0, 4)


def test_blobs_hold_at_most_the_largest_fraction():
    fraction = structured(StructureConfig(share=1.0, max_fraction=0.25)).blobs[..., FRACTION]
    light = np.maximum(fraction, 0.0).sum(axis=1)
    assert light.max() == pytest.approx(0.25) and np.mean(light > 0.1) > 0.3
    only_dust = fraction[:, CHAIN:][:, DUST]
    assert (only_dust <= 0.0).all() and np.mean((only_dust < 0.0).any(axis=1)) > 0.1
    assert (np.delete(fraction, np.arange(CHAIN + DUST.start, CHAIN + DUST.stop), axis=1) >= 0.0).all()


def test_no_blob_reaches_beyond_the_extent():
    sources = add_structure(np.random.default_rng(2), galaxies(), np.full(MANY, 1.0), ALL)
    used = sources.blobs[..., FRACTION] != 0.0
    assert used.any() and (np.hypot(sources.blobs[..., 0], sources.blobs[..., 1])[used] < 1.0).all()


def test_a_galaxy_keeps_its_light_and_stays_positive():
    simulator = Simulator(SimulationConfig())
    smooth = galaxies(22.0, 40)
    smooth = smooth.replace(x=np.full(40, 127.5), y=np.full(40, 127.5))
    sources = structured(sources=smooth)
    psf = [np.full(40, value) for value in (0.17, 0.0, 0.0)]
    stamps = simulator.render(sources, np.full(40, 120.0), psf, [], 256)
    flux = simulator.survey.flux(22.0)
    assert sources.blobs.shape == (40, BLOBS, 4)
    np.testing.assert_allclose(stamps.sum(axis=(1, 2)), flux, rtol=0.04)  # the rest lies in wings outside
    assert stamps.min() > -0.05 * simulator.sky_sigma
