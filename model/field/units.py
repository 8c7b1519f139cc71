"""From an image's unit to the electrons of the survey that a model was trained for.

A model knows one survey: its noise, and how many electrons a magnitude makes there. An image of that survey needs its
gain and exposure time only; an image with a zero point is brought to the survey's fluxes by `10^(0.4 (Z - zero
point))`, Z being the magnitude of one electron in the survey's whole exposure.
"""

import math
import re
from dataclasses import dataclass, replace

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.header import Number, Numbers

# AB magnitude of one unit of flux density per pixel.
FLUX_DENSITIES = {"Jy": 8.90, "mJy": 16.40, "uJy": 23.90, "nJy": 31.40, "nanomaggy": 22.5, "nmgy": 22.5, "maggy": 0.0}
UNITS = ("electron", "electron/s", "adu", "adu/s", *FLUX_DENSITIES)
MAGNITUDE_LIMIT = 100  # no image has a zero point beyond; powers of ten of it can be computed
_ALIASES = {
    **dict.fromkeys(("electrons", "e-", "e", "elec", "photoelectron", "photoelectrons"), "electron"),
    **dict.fromkeys(("dn", "count", "counts", "ct", "cts"), "adu"),
    "cps": "adu/s",
    "nanomaggies": "nanomaggy",
    "maggies": "maggy",
}
_RATE = re.compile(r"(.+?)(?:\s*/\s*(?:s|secs?|seconds?)|[\s.*]+(?:s|secs?|seconds?)(?:\^|\*\*)?\(?-1\)?)")


@dataclass(frozen=True)
class Conversion:
    """How an image becomes electrons of the survey.

    Attributes:
      factor: electrons per unit of the image.
      text: how that comes about, for the log and the file's history.
      counted: the electrons are those that the detector counted, so that their Poisson noise is known.
      calibrated: the electrons are known; else the image has whatever unit it has, and no magnitudes.
      believed: what it follows from, such as "GAIN = 2".
      notes: what the header says and is not used.
    """

    factor: float
    text: str
    counted: bool
    calibrated: bool = True
    believed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def conversion(
    numbers: Numbers,
    bunit: str,
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
      numbers: of the header.
      bunit: the header's unit; empty without one.
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
    for option, value in given.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"`{option}`: received {value}; allowed: a number above 0")
    options = {name: Number(value, f"`{name}`") for name, value in given.items() if value is not None}
    values = {**numbers.found, **options}
    if zero_point is not None:
        if not abs(zero_point) <= MAGNITUDE_LIMIT:
            raise ConfigError(
                f"`zero_point`: received {zero_point}; allowed: a magnitude from -{MAGNITUDE_LIMIT} to"
                f" {MAGNITUDE_LIMIT}"
            )
        return _by_zero_point(
            Number(zero_point, "`zero_point`"), f"zero point {zero_point:g}, as given", survey, source
        )
    found = unit or bunit
    name = _unit_name(found)
    if name is None and found and (magnitude := _zero_point_of(found, numbers, source)) is not None:
        converted = _by_zero_point(Number(magnitude, found), f"unit {found}", survey, source)
        return replace(converted, believed=(f"unit {found}",), notes=_unused(numbers, found))
    if name is None and found:
        raise (ConfigError if unit else DataError)(
            f"{source}: the unit {found!r} is not known; give `unit`, one of {', '.join(UNITS)}, or `zero_point`"
        )
    if name is None:
        if integer:
            raise DataError(
                f"{source}: the pixels are integers without a unit (BUNIT): counts, or perhaps a mask. Give"
                " `unit` adu with `gain`, or `zero_point`."
            )
        if "zero_point" in values:
            return _of_header(values, numbers, name, survey, source)
        raise DataError(
            f"{source}: nothing says what unit the pixels have: there is no BUNIT and no zero point"
            f"{_aside(numbers, 'zero_point')}. Give `unit`, one of {', '.join(UNITS)}, or `zero_point`, or"
            " `match_noise`."
        )
    stated = f"`unit` {name}" if unit else f"BUNIT = {bunit}"
    if name in FLUX_DENSITIES:
        converted = _by_zero_point(Number(FLUX_DENSITIES[name], name), f"unit {name}", survey, source)
        return replace(converted, believed=(stated,), notes=_unused(numbers, name))
    factor, parts, believed, notes = 1.0, [f"unit {name}"], [stated], []
    if name.startswith("adu"):
        if "gain" not in values:
            if "zero_point" in values:
                return _of_header(values, numbers, name, survey, source)
            raise DataError(
                f"{source}: the pixels are counts ({found}), and neither gain nor zero point is known"
                f"{_aside(numbers, 'gain', 'zero_point')}. Give `gain` or `zero_point`."
            )
        factor *= values["gain"].value
        parts.append(f"gain {values['gain'].value:g} e-/count ({values['gain'].keyword})")
        believed.append(str(values["gain"]))
        notes += [] if "gain" in options else numbers.ignored.get("gain", [])
    if name.endswith("/s"):
        if "exposure_time" not in values:
            raise DataError(
                f"{source}: the pixels are rates ({found}), and the exposure time is not known"
                f"{_aside(numbers, 'exposure_time')}. Give `exposure_time`."
            )
        factor *= values["exposure_time"].value
        parts.append(f"exposure time {values['exposure_time'].value:g} s ({values['exposure_time'].keyword})")
        believed.append(str(values["exposure_time"]))
        notes += [] if "exposure_time" in options else numbers.ignored.get("exposure_time", [])
    if not 0 < factor < math.inf:
        raise DataError(
            f"{source}: a count would be {factor} electrons ({', '.join(parts)}). Give `gain` and `exposure_time`."
        )
    return Conversion(factor, ", ".join(parts), True, believed=tuple(believed), notes=(*notes, *_unused(numbers, name)))


def unscaled(reason: str) -> Conversion:
    """The conversion of an image whose unit is not known, or not wanted: it stays as it is."""
    return Conversion(1.0, reason, counted=False, calibrated=False)


def _of_header(
    values: dict[str, Number], numbers: Numbers, unit: str | None, survey: dict | None, source: str
) -> Conversion:
    """By the header's zero point, of a count or of a count per second."""
    number, time = values["zero_point"], values.get("exposure_time")
    text = f"zero point {number.value:g} of the header ({number.keyword})"
    believed, notes = [str(number)], [*numbers.ignored.get("zero_point", ())]
    if number.per_second and unit != "adu/s":
        if unit is None:
            raise DataError(
                f"{source}: {number} is the zero point of one count per second, and nothing says whether the pixels are"
                " counts or counts per second (BUNIT). Give `unit` adu or adu/s, or `zero_point`."
            )
        if time is None:
            raise DataError(
                f"{source}: {number} is the zero point of one count per second, the pixels are counts, and the exposure"
                f" time is not known{_aside(numbers, 'exposure_time')}. Give `exposure_time` or `zero_point`."
            )
        number = Number(number.value + 2.5 * math.log10(time.value), number.keyword)
        text += f" for one count per second, {number.value:g} for {time}"
        believed.append(str(time))
    elif not number.per_second and unit is None:
        notes.append(f"{number} is taken as the zero point of one unit of the image. `zero_point` says otherwise")
    return replace(_by_zero_point(number, text, survey, source), believed=tuple(believed), notes=tuple(notes))


def _by_zero_point(number: Number, text: str, survey: dict | None, source: str) -> Conversion:
    if not survey:
        raise DataError(
            f"{source}: a zero point needs the survey that the model was trained for, which this model does"
            " not name. Give `unit` electron."
        )
    factor = 10.0 ** (0.4 * (electron_magnitude(survey) - number.value))
    return Conversion(factor, f"{text}, brought to {survey['name']}", counted=False, believed=(str(number),))


def _unused(numbers: Numbers, unit: str) -> tuple[str, ...]:
    """A zero point of the header that plays no part."""
    number = numbers.found.get("zero_point")
    if number is None:
        return ()
    value, time = number.value, numbers.found.get("exposure_time")
    said = f"the header's zero point, {number}, is not used: the unit says what a pixel is"
    if number.per_second and not unit.endswith("/s"):
        if time is None:
            return (said,)
        value += 2.5 * math.log10(time.value)
    return (f"{said}. `zero_point` {value:g} would bring the image to the survey's fluxes",)


def _aside(numbers: Numbers, *names: str) -> str:
    """What the header does say, in brackets."""
    said = [text for name in names for text in numbers.ignored.get(name, ())]
    return f" ({'; '.join(said)})" if said else ""


def electron_magnitude(survey: dict) -> float:
    """AB magnitude of one electron in the survey's whole exposure."""
    return survey["zero_point"] + 2.5 * math.log10(survey["exposure_time"])


def _unit_name(text: str) -> str | None:
    """One of `UNITS`, or None."""
    if text in UNITS:
        return text
    name = " ".join(text.lower().split())
    rate = _RATE.fullmatch(name)
    name = rate[1] if rate else name
    name = _ALIASES.get(name, name) + ("/s" if rate else "")
    # Not mJy, which is a thousand-millionth of MJy.
    return next((unit for unit in UNITS if unit.lower() == name and unit != "mJy"), None)


def _zero_point_of(text: str, numbers: Numbers, source: str) -> float | None:
    """AB magnitude of one of a unit of flux density, per pixel or per solid angle; None for any other."""
    from astropy import units

    try:
        unit = units.Unit(text)
        if unit.is_equivalent(units.Jy):
            return FLUX_DENSITIES["Jy"] - 2.5 * math.log10(unit.to(units.Jy))
        if not unit.is_equivalent(units.Jy / units.sr):
            return None
        brightness = unit.to(units.Jy / units.sr)
    except (ValueError, TypeError):
        return None
    area = numbers.found.get("pixel_area")
    if area is None:
        raise DataError(
            f"{source}: the pixels are surface brightnesses ({text}), and the solid angle of a pixel (PIXAR_SR) is not"
            f" known{_aside(numbers, 'pixel_area')}. Give `zero_point`, the AB magnitude of one {text} in one pixel."
        )
    return FLUX_DENSITIES["Jy"] - 2.5 * math.log10(brightness * area.value)
