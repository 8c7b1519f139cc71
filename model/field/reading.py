"""Reads a field from FITS in strips of rows: electrons, sky-subtracted, NaN where there is no data."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.errors import ConfigError, DataError
from blendinator.model.field import background as sky, units
from blendinator.model.field.fill import mark_no_data
from blendinator.model.field.header import Numbers, read_numbers
from blendinator.model.field.plane import Plane, split_hdu
from blendinator.model.field.wcs import Celestial, celestial
from blendinator.model.field.weights import NAMES, check_weight, masked_rows, noise_of, read_bits

NOISE_TOLERANCE = 0.1  # relative difference of the measured noise to the model's that is warned of
NOISE_LIMIT = 20.0  # no survey's noise is as many times the training's, or as small a part of it: a unit is wrong
SCALE_TOLERANCE = 0.05  # the tolerance of the pixel scale
MOST_OTHERS = 4  # images of a file that are named in a warning
UNKNOWN = "unknown"  # a unit: the image is scaled by its noise alone


@dataclass(frozen=True)
class Field:
    """A field that is ready for the network.

    Attributes:
      image: the plane it comes from.
      conversion: to electrons.
      sky: its background, None when it was not subtracted or is not needed.
      subtract: whether the background is subtracted.
      sky_sigma: measured noise per pixel in electrons, the median over the boxes; NaN before the measurement.
      noise_scale: what the electrons are multiplied with for the network, besides the weight map.
      training_sigma: the network's noise, electrons per pixel.
      weight, mask: planes of the same shape, or None. mask_bits: those that count, None for all.
      wcs: where its pixels lie on the sky, or None.
      warnings: what the user should know.
    """

    image: Plane
    conversion: units.Conversion
    sky: sky.Background | None
    subtract: bool
    sky_sigma: float
    noise_scale: float
    training_sigma: float | None
    weight: Plane | None
    weight_type: str
    mask: Plane | None
    warnings: tuple[str, ...] = ()
    mask_bits: int | None = None
    wcs: Celestial | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Electrons, sky-subtracted; NaN means no data."""
        return self._electrons(start, stop, self._sigma(start, stop))

    def network_rows(self, start: int, stop: int) -> np.ndarray:
        """What the network sees: the electrons, scaled to the noise of its training where that was requested."""
        sigma = self._sigma(start, stop)
        part = self._electrons(start, stop, sigma)
        if sigma is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                part *= self.training_sigma / (sigma * self.conversion.factor)
        return part * np.float32(self.noise_scale)

    def sigma_rows(self, start: int, stop: int) -> np.ndarray | float | None:
        """Sky noise per pixel in electrons: of the weight map, else the measured one."""
        sigma = self._sigma(start, stop)
        return self.sky_sigma if sigma is None else sigma * self.conversion.factor

    def close(self) -> None:
        for plane in (self.image, self.weight, self.mask):
            if plane is not None:
                plane.close()

    def _electrons(self, start: int, stop: int, sigma: np.ndarray) -> np.ndarray:
        part = self.image.rows(start, stop)
        if self.subtract and self.sky is not None:
            part -= self.sky.rows(start, stop)
        part *= np.float32(self.conversion.factor)
        if sigma is not None:
            part[~np.isfinite(sigma)] = np.nan
        if self.mask is not None:
            part[masked_rows(self.mask, self.mask_bits, start, stop)] = np.nan
        return part

    def _sigma(self, start: int, stop: int) -> np.ndarray | None:
        """The weight map's noise per pixel in the image's unit, NaN where bad; None without a map."""
        if self.weight is None:
            return None
        return noise_of(self.weight.rows(start, stop), self.weight_type)


def open_field(
    path: str | Path,
    survey: dict | None,
    stamp_size: int,
    *,
    hdu: str | int | None = None,
    unit: str | None = None,
    gain: float | None = None,
    exposure_time: float | None = None,
    zero_point: float | None = None,
    background: bool = True,
    box: int = 128,
    weight: str | Path | None = None,
    weight_hdu: str | int | None = None,
    weight_type: str = "rms",
    mask: str | Path | None = None,
    mask_hdu: str | int | None = None,
    mask_bits: str | None = None,
    no_data: tuple[float, ...] = (),
    match_noise: bool = False,
) -> Field:
    """Opens a field, measures its sky and finds the way to the network's electrons.

    Args:
      path, hdu: the image; the HDU can stand in brackets behind the path, too.
      survey, stamp_size: of the model (`Segmenter.survey`, its facts).
      unit, gain, exposure_time, zero_point: see `units.conversion`. With a weight or `match_noise`, the unit "unknown"
        leaves the image as it is.
      background: whether to subtract the measured sky. box: pixels per side of its mesh.
      weight: a map of the noise, in the image's unit: every pixel is then scaled so that its noise is that of the
        training. `weight_type` says what it holds.
      mask: an image that is not 0 where there is no data; `mask_bits`, see `weights.read_bits`, says which bits count.
      weight_hdu, mask_hdu: as hdu. By default the one that is named like such a map, and never the image.
      no_data: values that stand for no data; by default they are looked for.
      match_noise: scale the whole field so that its measured noise is that of the training.

    Raises:
      DataError, ConfigError: with the file and the remedy.
    """
    image = Plane(*split_hdu(path, hdu))
    if min(image.shape) < stamp_size:
        raise DataError(
            f"{image.name}: the image has {image.shape[1]} x {image.shape[0]} pixels; allowed: at least"
            f" {stamp_size} per side, the stamps that the model was trained on. Pad it with NaN."
        )
    maps = {
        "weight": _map("weight", weight, weight_hdu, NAMES[weight_type], image),
        "mask": _map("mask", mask, mask_hdu, NAMES["mask"], image),
    }
    bits = _mask_bits(mask_bits, maps["mask"])
    scaled = match_noise or weight is not None
    if scaled and not survey:
        raise DataError(
            f"{path}: scaling to the training's noise needs a model that names its survey. Push a newer model."
        )
    _check_stretch(image)
    numbers = read_numbers(image.header, image.inherited, image.elsewhere)
    found = _left_out(image) + mark_no_data(image, no_data)
    converted = _conversion(image, numbers, survey, scaled, unit, gain, exposure_time, zero_point)
    wcs, said = celestial(image.header, image.file, image.axes)
    training: Any = survey["sky_sigma"] if survey else None
    field = Field(
        image, converted, None, False, math.nan, 1.0, training, maps["weight"], weight_type, maps["mask"], (), bits, wcs
    )
    measured = sky.measure(lambda start, stop: field.rows(start, stop) / converted.factor, image.shape, box)
    if measured is None:
        raise DataError(
            f"{image.name}: too few pixels hold data to measure the sky, or none does"
            f"{f' ({found[-1]})' if found else ''}. Give an image with data."
        )
    noise = measured.sky_sigma * converted.factor
    if not noise > 0:
        raise DataError(
            f"{image.name}: the image has no noise (all pixels of the sky are equal). Give an observed image."
        )
    if maps["weight"] is not None:
        time = numbers.found.get("exposure_time")
        check_weight(maps["weight"], weight_type, measured, time.value if time else None)
    field = dataclasses.replace(
        field,
        sky=measured,
        subtract=background,
        sky_sigma=noise,
        noise_scale=training / noise if match_noise and weight is None else 1.0,
    )
    if survey and converted.calibrated:
        _check_noise(field, training)
    warnings = (*found, *converted.notes, *said, *_warnings(field, survey, scaled))
    return dataclasses.replace(field, warnings=warnings)


def _map(
    name: str, path: str | Path | None, hdu: str | int | None, names: tuple[str, ...], image: Plane
) -> Plane | None:
    """The plane of a map beside the image, or None."""
    if path is None:
        if hdu is not None:
            raise ConfigError(f"`{name}_hdu`: received {hdu} without `{name}`. Give the file as well.")
        return None
    plane = Plane(*split_hdu(path, hdu, f"{name}_hdu"), prefer=names, apart=image)
    if plane.shape != image.shape:
        raise DataError(
            f"{plane.name}: the {name} map has the shape {list(plane.shape)}; allowed: {list(image.shape)}, that of the"
            " image"
        )
    return plane


def _mask_bits(text: str | None, mask: Plane | None) -> int | None:
    if text is not None and mask is None:
        raise ConfigError(f"`mask_bits`: received {text} without `mask`. Give the mask as well.")
    return None if mask is None else read_bits(text, mask)


def _conversion(
    image: Plane,
    numbers: Numbers,
    survey: dict | None,
    scaled: bool,
    unit: str | None,
    gain: float | None,
    exposure_time: float | None,
    zero_point: float | None,
) -> units.Conversion:
    if unit == UNKNOWN:
        if not scaled:
            raise ConfigError("`unit`: received unknown; allowed with `match_noise` or `weight`, which need no unit")
        return units.unscaled("unit left as it is, as requested")
    bunit = str(image.header.get("BUNIT", "") or "").strip()
    try:
        return units.conversion(
            numbers, bunit, survey, unit, gain, exposure_time, zero_point, image.name, image.integer
        )
    except DataError:
        if not scaled or unit or image.integer:
            raise
        # Scaled by its own noise, an image needs no unit; its fluxes stay in whatever unit it has.
        return units.unscaled("unknown unit, left as it is")


def _check_noise(field: Field, training: float) -> None:
    """Raises where the noise says that the unit is wrong."""
    ratio = field.sky_sigma / training
    if 1 / NOISE_LIMIT <= ratio <= NOISE_LIMIT:
        return
    raise DataError(
        f"{field.image.name}: the sky noise is {field.sky_sigma:.4g} e- per pixel, {ratio:.3g} times the {training:.4g}"
        f" e- of the training; allowed: 1/{NOISE_LIMIT:g} to {NOISE_LIMIT:g} times, as surveys do not differ by more."
        f" What was believed is wrong: {', '.join(field.conversion.believed)}"
        f"{''.join(f'; {note}' for note in field.conversion.notes)}. Give `unit`, `gain`, `exposure_time` or"
        " `zero_point` as they are, or `match_noise` with `unit` unknown, which needs none of them."
    )


def _left_out(image: Plane) -> list[str]:
    found = []
    if image.others:
        more = f" and {len(image.others) - MOST_OTHERS} more" if len(image.others) > MOST_OTHERS else ""
        found.append(
            f"{image.name} is the first of several images, and the only one that is segmented:"
            f" {', '.join(image.others[:MOST_OTHERS])}{more} are left out. `hdu` names another"
        )
    if image.unreadable:
        found.append(f"the header's values of {', '.join(image.unreadable)} cannot be read and are left out")
    return found


def _check_stretch(image: Plane) -> None:
    """Raises where the pixels are not proportional to the flux."""
    if "BSOFTEN" in image.header:
        raise DataError(
            f"{image.name}: the pixels are asinh magnitudes, as those of Pan-STARRS (BSOFTEN, BOFFSET in the header),"
            " not fluxes. Write BOFFSET + 2 BSOFTEN sinh(x / 1.0857) of each pixel x to a file, without these keywords."
        )


def _warnings(field: Field, survey: dict | None, scaled: bool) -> list[str]:
    found = []
    if survey and not scaled:
        ratio = field.sky_sigma / survey["sky_sigma"]
        if abs(ratio - 1) > NOISE_TOLERANCE:
            found.append(
                f"the sky noise is {field.sky_sigma:.4g} e- per pixel, {ratio:.3g} times the {survey['sky_sigma']:.4g}"
                " e- that the model was trained with: its probabilities are not calibrated for this field."
                " `match_noise` or `weight` scale the field to the training's noise."
            )
    scale = field.wcs.pixel_scale if field.wcs else None
    if survey and scale and abs(scale / survey["pixel_scale"] - 1) > SCALE_TOLERANCE:
        found.append(
            f"a pixel is {scale:.4g} arcsec, and {survey['pixel_scale']:g} in the training: galaxies look"
            " larger or smaller than those the model knows"
        )
    return found
