"""Surveys: what the telescope, the exposure and the sky make of a magnitude. Constants come from surveycodex."""

import math
from dataclasses import dataclass

import numpy as np

from blendinator.errors import ConfigError

# name: (survey in surveycodex, its filter or a tuple of them, exposures of `full_exposure_time`, read noise in e- per
# exposure, depth, full well in e- per exposure).
# Euclid: 4 exposures of 565 s; the read noise is below 4.4 e- (Q1 paper), 4.2 gives the 26.3 e- per pixel that the
# measured depth implies. The deep fields' 40 visits lower the relative noise by sqrt(40).
# LSST: `full_exposure_time` is the whole survey already, whose sky noise leaves the read noise behind; it is the sum of
# exposures of 30 s, each with a full well of about 100,000 e-.
# Euclid's full well: about 200,000 e- (Q1 images saturate near magnitude 17.9).
# COSMOS: the sum of 4 exposures of 507 s, each with 5 e- of read noise and a full well of 84,700 e- (ACS handbook), on
# the mosaic's pixels of 0.03 arcsec. HSC wide: the sum of 6 exposures of 200 s, 4.5 e- and 150,000 e- each.
PRESETS = {
    "euclid_wide": ("Euclid_VIS", "IE", 4, 4.2, 1, 2.0e5),
    "euclid_deep": ("Euclid_VIS", "IE", 4, 4.2, 40, 2.0e5),
    "lsst_i": ("LSST", "i", 1, 0.0, 1, 2.0e7),
    "hst_f814w": ("COSMOS", "f814w", 1, 10.0, 1, 3.4e5),
    "hsc_i": ("HSC", "i", 1, 11.0, 1, 9.0e5),
}
# Struts of the spider, and their width over the mirror's diameter.
SPIDERS = {"Euclid_VIS": (3, 0.05), "LSST": (4, 0.02), "COSMOS": (4, 0.02), "HSC": (4, 0.03)}

HALF_BAND = 0.22  # of the wavelength: VIS takes 550 to 900 nm; what matters is that the pattern is washed out


@dataclass(frozen=True)
class Survey:
    """What a scene needs to know of a survey.

    Attributes:
      bands: names of the filters, in the order of an image's last axis. What follows is that of the first band, but for
        the pixel scale, which all share.
      pixel_scale: arcsec per pixel.
      zero_point: AB magnitude of a source of one electron per second.
      exposure_time: seconds, of the image whose electrons are counted.
      sky_sigma: sky and read noise, electrons per pixel.
      psf_fwhm: arcsec, of the optics and atmosphere without the pixel.
      airy_scale: lambda / D in arcsec, at the filter's effective wavelength.
      obscuration: diameter of the central obscuration over that of the mirror.
      half_band: half of the filter's width over its effective wavelength.
      struts, strut_thickness: of the spider, the latter over the mirror's diameter.
      saturation: electrons of a pixel above which charge spills over.
    """

    name: str
    bands: tuple[str, ...]
    pixel_scale: float
    zero_point: float
    exposure_time: float
    sky_sigma: float
    psf_fwhm: float
    airy_scale: float
    obscuration: float
    half_band: float
    struts: int
    strut_thickness: float
    saturation: float

    def __post_init__(self) -> None:
        if not self.bands or len(set(self.bands)) < len(self.bands) or not all(self.bands):
            raise ConfigError(
                f"survey {self.name}: bands: received {self.bands}; allowed: one filter or more, each with its own name"
            )

    def flux(self, magnitude: np.ndarray) -> np.ndarray:
        """Electrons of a source of this AB magnitude."""
        return self.exposure_time * 10.0 ** (0.4 * (self.zero_point - magnitude))

    def magnitude(self, flux: float) -> float:
        """AB magnitude of a source of this many electrons (> 0)."""
        return self.zero_point - 2.5 * math.log10(flux / self.exposure_time)


def bands_of(name: str) -> tuple[str, ...]:
    """The bands of the survey of this name, without the rest of it, which takes a second to import.

    Raises:
      ConfigError: the survey is unknown.
    """
    if name not in PRESETS:
        raise ConfigError(f"simulation.survey: received {name!r}; allowed: one of {', '.join(PRESETS)}")
    filters = PRESETS[name][1]
    return (filters,) if isinstance(filters, str) else tuple(filters)


def get_survey(name: str) -> Survey:
    """The survey of this name.

    Deep images are averages of `depth` visits in the units of one: fluxes stay as they are and the noise falls by
    sqrt(depth).

    Raises:
      ConfigError: the survey is unknown.
    """
    from surveycodex import get_survey as codex_survey

    bands = bands_of(name)
    codex_name, _, exposures, read_noise, depth, full_well = PRESETS[name]
    struts, thickness = SPIDERS[codex_name]
    survey = codex_survey(codex_name)
    band = survey.get_filter(bands[0])
    pixel = survey.pixel_scale.to_value("arcsec")
    zero_point = band.zeropoint.value
    time = exposures * band.full_exposure_time.to_value("s")
    sky = time * 10.0 ** (0.4 * (zero_point - band.sky_brightness.value)) * pixel**2
    return Survey(
        name=name,
        bands=bands,
        pixel_scale=float(pixel),
        zero_point=float(zero_point),
        exposure_time=float(time),
        sky_sigma=float(math.sqrt((sky + exposures * read_noise**2) / depth)),
        psf_fwhm=float(band.psf_fwhm.to_value("arcsec")),
        airy_scale=float(math.degrees((band.effective_wavelength / survey.mirror_diameter).to_value("")) * 3600.0),
        # surveycodex gives the obscured share of the mirror's area.
        obscuration=float(math.sqrt(survey.obscuration)),
        half_band=HALF_BAND,
        struts=struts,
        strut_thickness=thickness,
        saturation=float(exposures * full_well),
    )
