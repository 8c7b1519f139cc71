"""From an image's unit to the electrons of the survey that a model was trained for.

A model knows one survey: its noise, and how many electrons a magnitude makes there. An image of that survey needs its
gain and exposure time only; an image with a zero point is brought to the survey's fluxes by `10^(0.4 (Z - zero
point))`, Z being the magnitude of one electron in the survey's whole exposure.
"""

import math
from dataclasses import dataclass

from blendinator.errors import ConfigError, DataError

# AB magnitude of one unit of flux density per pixel.
FLUX_DENSITIES = {"Jy": 8.90, "mJy": 16.40, "uJy": 23.90, "nJy": 31.40, "nanomaggy": 22.5, "nmgy": 22.5, "maggy": 0.0}
UNITS = ("electron", "electron/s", "adu", "adu/s", *FLUX_DENSITIES)
MAGNITUDE_LIMIT = 100  # no image has a zero point beyond; powers of ten of it can be computed
_ALIASES = {
    "electrons": "electron",
    "e-": "electron",
    "e": "electron",
    "photoelectron": "electron",
    "photoelectrons": "electron",
    "electrons/s": "electron/s",
    "electron/sec": "electron/s",
    "electrons/sec": "electron/s",
    "e-/s": "electron/s",
    "e/s": "electron/s",
    "electrons/second": "electron/s",
    "electron s-1": "electron/s",
    "electrons s-1": "electron/s",
    "dn": "adu",
    "count": "adu",
    "counts": "adu",
    "ct": "adu",
    "dn/s": "adu/s",
    "count/s": "adu/s",
    "counts/s": "adu/s",
    "counts/sec": "adu/s",
    "cps": "adu/s",
    "ct/s": "adu/s",
    "microjy": "uJy",
    "ujy": "uJy",
    "njy": "nJy",
    "jy": "Jy",
    "nanomaggies": "nanomaggy",
    "maggies": "maggy",
}
KEYWORDS = {
    "gain": ("GAIN", "EGAIN", "CCDGAIN", "ATODGAIN"),
    "exposure_time": ("EXPTIME", "EXPOSURE", "TEXPTIME", "EXP_TIME"),
    "zero_point": ("MAGZERO", "MAGZEROP", "MAGZPT", "ZP", "ZEROPNT", "ZPT", "PHOTZP", "ZPAB"),
}


@dataclass(frozen=True)
class Conversion:
    """How an image becomes electrons of the survey.

    Attributes:
      factor: electrons per unit of the image.
      text: how that comes about, for the log and the file's history.
      counted: the electrons are those that the detector counted, so that their Poisson noise is known.
      calibrated: the electrons are known; else the image has whatever unit it has, and no magnitudes.
    """

    factor: float
    text: str
    counted: bool
    calibrated: bool = True


def conversion(
    header,
    survey: dict | None,
    unit: str | None = None,
    gain: float | None = None,
    exposure_time: float | None = None,
    zero_point: float | None = None,
    source: str = "image",
    integer: bool = False,
) -> Conversion:
    """The conversion of an image by its header and what the user says of it, which comes first.

    A zero point given by the user wins; else the unit decides: flux densities have a zero point of their own, electrons
    and counts use gain and exposure time, and counts without a known gain the header's zero point.

    Args:
      header: a mapping of FITS keywords.
      survey: as in `Segmenter.survey`.
      unit: of the pixels, one of `UNITS`; BUNIT by default.
      gain: electrons per count. exposure_time: seconds. zero_point: AB magnitude of one unit of the image.
      source: file and HDU, named first in messages.
      integer: the pixels are stored as integers without a scale.

    Raises:
      DataError: nothing says what a pixel's unit is, or a needed value is missing.
      ConfigError: a value is out of range or the unit unknown.
    """
    given = {"gain": gain, "exposure_time": exposure_time}
    for name, value in given.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name.replace('_', '-')}: received {value}; allowed: a number above 0")
    if zero_point is not None:
        return _by_zero_point(zero_point, survey, f"zero point {zero_point:g}, as given", source)
    found = unit or str(header.get("BUNIT", "") or "").strip()
    name = _unit_name(found)
    if name is None and found:
        raise (ConfigError if unit else DataError)(
            f"{source}: the unit {found!r} is not known; give --unit, one of {', '.join(UNITS)}, or --zero-point"
        )
    values = {key: given.get(key) if given.get(key) is not None else _from_header(header, key) for key in KEYWORDS}
    if name is None:
        if integer:
            raise DataError(
                f"{source}: the pixels are integers without a unit (BUNIT): counts, or perhaps a mask. Give"
                " --unit adu with --gain, or --zero-point."
            )
        if values["zero_point"] is not None:
            return _by_zero_point(
                values["zero_point"], survey, f"zero point {values['zero_point']:g} of the header", source
            )
        raise DataError(
            f"{source}: nothing says what unit the pixels have: there is no BUNIT and no zero point. Give"
            f" --unit, one of {', '.join(UNITS)}, or --zero-point, or --match-noise."
        )
    if name in FLUX_DENSITIES:
        return _by_zero_point(FLUX_DENSITIES[name], survey, f"unit {name}", source)
    factor, parts = 1.0, [f"unit {name}"]
    if name.startswith("adu"):
        if values["gain"] is None:
            if values["zero_point"] is not None:
                return _by_zero_point(
                    values["zero_point"], survey, f"zero point {values['zero_point']:g} of the header", source
                )
            raise DataError(
                f"{source}: the pixels are counts ({found}), and neither gain nor zero point is known. Give"
                " --gain or --zero-point."
            )
        factor *= values["gain"]
        parts.append(f"gain {values['gain']:g} e-/count")
    if name.endswith("/s"):
        if values["exposure_time"] is None:
            raise DataError(
                f"{source}: the pixels are rates ({found}), and the exposure time is not known. Give --exposure-time."
            )
        factor *= values["exposure_time"]
        parts.append(f"exposure time {values['exposure_time']:g} s")
    if not 0 < factor < math.inf:
        raise DataError(
            f"{source}: a count would be {factor} electrons ({', '.join(parts)}). Give --gain and --exposure-time."
        )
    return Conversion(factor, ", ".join(parts), counted=True)


def _by_zero_point(value, survey, text, source):
    if not abs(value) <= MAGNITUDE_LIMIT:
        raise ConfigError(
            f"--zero-point: received {value}; allowed: a magnitude from -{MAGNITUDE_LIMIT} to {MAGNITUDE_LIMIT}"
        )
    if not survey:
        raise DataError(
            f"{source}: a zero point needs the survey that the model was trained for, which this model does"
            " not name. Give --unit electron."
        )
    return Conversion(
        10.0 ** (0.4 * (electron_magnitude(survey) - value)), f"{text}, brought to {survey['name']}", counted=False
    )


def electron_magnitude(survey: dict) -> float:
    """AB magnitude of one electron in the survey's whole exposure."""
    return survey["zero_point"] + 2.5 * math.log10(survey["exposure_time"])


def _unit_name(text):
    for candidate in (text, text.lower().replace(" / ", "/")):
        if candidate in UNITS:
            return candidate
        if candidate in _ALIASES:
            return _ALIASES[candidate]
    return None


def _from_header(header, name):
    """The first usable value of a quantity's keywords."""
    for key in KEYWORDS[name]:
        value = header.get(key)
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (abs(value) <= MAGNITUDE_LIMIT if name == "zero_point" else value > 0)
        ):
            return float(value)
    return None
