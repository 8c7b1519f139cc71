"""Maps beside an image: of its noise, checked against the noise that is measured, and of bad pixels, by their bits."""

import re

import numpy as np

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.background import Background
from blendinator.model.field.plane import HUGE, Plane

# What pipelines call the HDU of each kind.
NAMES = {
    "rms": ("ERR", "ERROR", "RMS", "SIGMA", "NOISE", "STD", "STDDEV", "UNCERT", "UNC"),
    "variance": ("VAR", "VARIANCE", "VARMAP"),
    "weight": ("WHT", "WEIGHT", "WGT", "IVAR", "INVVAR", "INVVARIANCE"),
    "mask": ("MASK", "DQ", "FLAGS", "FLAG", "FLG", "BPM", "BADPIX"),
}
TOLERANCE = 2.0  # a map's noise may differ from the measured one by this factor: correlated noise of mosaics does
CLEAR = 1.5  # a type that comes as near is named as the likely one
BITS = 64


def noise_of(weight: np.ndarray, kind: str) -> np.ndarray:
    """Noise per pixel from a map of RMS, variance or weight (1 / variance); NaN where it marks a bad pixel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = {"rms": lambda: weight, "variance": lambda: np.sqrt(weight), "weight": lambda: 1 / np.sqrt(weight)}[
            kind
        ]()
        return np.where((sigma > 0) & (sigma < HUGE), sigma, np.nan).astype(np.float32)


def check_weight(weight: Plane, kind: str, measured: Background, exposure_time: float | None = None) -> None:
    """Compares a map with the scatter of the image in the boxes of its background.

    Args:
      measured: the image's, in the map's unit (or its square, or 1 / its square).
      exposure_time: of the header, by which a map of exposure times is recognised.

    Raises:
      DataError: they differ by more than a factor of 2: with the ratio, and the type that fits better.
    """
    # Sampled rows: a wrong type is wrong everywhere.
    step = max(measured.box // 4, 1)
    rows = range(0, weight.shape[0], step)
    columns = (np.arange(weight.shape[1]) * measured.sigma.shape[1]) // weight.shape[1]
    values, sigmas = [], []
    for row in rows:
        values.append(weight.rows(row, row + 1)[0])
        sigmas.append(measured.sigma[row * measured.sigma.shape[0] // weight.shape[0], columns])
    value, sigma = np.concatenate(values), np.concatenate(sigmas)
    ratios = {}
    for each in ("rms", "variance", "weight"):
        noise = noise_of(value, each)
        good = np.isfinite(noise)
        ratios[each] = float(np.median(noise[good] / sigma[good])) if good.any() else np.nan
    ratio = ratios[kind]
    if not np.isfinite(ratio):
        raise DataError(f"{weight.name}: the weight map has no usable pixel as {kind} (needed: finite and above 0)")
    if 1 / TOLERANCE <= ratio <= TOLERANCE:
        return
    away = {each: abs(np.log(other)) for each, other in ratios.items() if each != kind and other > 0}
    near = [each for each, distance in away.items() if distance < np.log(CLEAR)]
    middle = float(np.median(value[np.isfinite(value) & (value > 0)]))
    if exposure_time is not None and abs(middle / exposure_time - 1) < 0.1:
        advice = (
            f"It holds exposure times (of {exposure_time:g} s), no weights: multiply it by"
            f" {1 / (middle * np.median(sigma) ** 2):.3g} for `weight_type` weight"
        )
    elif near:
        advice = f"`weight_type` {min(near, key=lambda each: away[each])} would fit"
    else:
        others = ", ".join(f"{other:.3g} as {each}" for each, other in ratios.items() if each != kind)
        advice = (
            f"No type fits ({others}): it is a map of exposure times, or relative, or in another unit than the image."
            f" {_scaling(kind, ratio)} if only its scale is wrong"
        )
    raise DataError(
        f"{weight.name}: read as {kind}, the map's noise is {ratio:.3g} times the image's measured scatter;"
        f" allowed: 1/{TOLERANCE:g} to {TOLERANCE:g}. {advice}, or leave `weight` out and use `match_noise`."
    )


def _scaling(kind: str, ratio: float) -> str:
    power = {"rms": -1, "variance": -2, "weight": 2}[kind]
    return f"Multiply it by {ratio**power:.3g}"


def read_bits(text: str | None, mask: Plane) -> int | None:
    """The set bits that mean "no data", as one integer, from `mask_bits`; None for any value that is not 0.

    Args:
      text: numbers from 0 and names, separated by commas. A name NAME is that of the header's keyword MP_NAME.

    Raises:
      ConfigError: a name that the header does not have, or a number out of range.
    """
    if text is None:
        return None
    known = {
        match[1].upper(): int(mask.header[key])
        for key in mask.header
        if (match := re.fullmatch(r"(?:HIERARCH )?MP_(\w+)", key)) and isinstance(mask.header[key], int)
    }
    wanted = 0
    for part in (one.strip() for one in text.split(",")):
        bit = int(part) if part.isdigit() else known.get(part.upper().removeprefix("MP_"))
        if bit is None or not 0 <= bit < BITS:
            raise ConfigError(
                f"`mask_bits`: received {part!r}; allowed: numbers from 0 to {BITS - 1}, bit 0 being the value 1"
                + (f", or {', '.join(sorted(known))}" if known else f" ({mask.name} names no bits in MP_ keywords)")
            )
        wanted |= 1 << bit
    return wanted


def masked_rows(mask: Plane, bits: int | None, start: int, stop: int) -> np.ndarray:
    """Where a mask marks pixels without data, boolean [stop - start, W]."""
    if bits is None:
        return ~(mask.rows(start, stop) == 0)
    values = mask.values(start, stop)
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.rint(values)):
            raise DataError(f"{mask.name}: `mask_bits` needs integers; received {values.dtype.name} with fractions")
        values = values.astype(np.int64)
    return (values.astype(np.uint64) & np.uint64(bits)) != 0
