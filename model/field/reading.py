"""Reads a field from FITS in strips of rows: electrons, sky-subtracted, NaN where there is no data."""

import gzip
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.errors import DataError
from blendinator.model.field import background as sky, units

COUNTS, MOST = ("NAXIS", "ZNAXIS", "TFIELDS", "WCSAXES"), 999  # of the FITS standard
LARGEST_SIDE = 1_000_000  # pixels; a damaged header of a compressed image can ask for any number
RMS_LIMIT = 1e29  # SExtractor's convention: noise at or above this marks bad pixels
NOISE_TOLERANCE = 0.1  # relative difference of the measured noise to the model's that is warned of
SCALE_TOLERANCE = 0.05  # the same of the pixel scale


class Plane:
    """A two-dimensional image in a FITS file, read by rows, so that memory does not grow with it.

    Args:
      path: a FITS file; gzipped ones are unpacked to a temporary file first.
      hdu: number or name of the HDU; by default the first with an image of two dimensions.

    Raises:
      DataError: the file is no FITS file, damaged, or has no such image.
    """

    def __init__(self, path: str | Path, hdu: str | int | None = None):
        from astropy.io import fits

        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{path}: there is no such file")
        self._unpacked: Any = None
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                source = self._source()
                _check_counts(source)
                self._file = fits.open(source, memmap=False, lazy_load_hdus=False)
        except Exception as error:  # astropy raises many kinds for a damaged file
            raise DataError(f"{path}: this is not a FITS file that can be read ({_first_line(error)})")
        if any("truncated" in str(warning.message) for warning in caught):
            raise DataError(f"{path}: the file ends before its data do. Copy or make it again.")
        index = self._choose(hdu)
        self.hdu = self._file[index]
        self.header, self.unreadable = _readable(self.hdu.header)
        self.name = f"{path}[{index}]"
        try:
            rows, columns = self.hdu.shape
            self.shape = int(rows), int(columns)
            self.integer = self.header.get("BITPIX", -32) > 0 and self.header.get("BSCALE", 1) == 1
        except (TypeError, ValueError):
            raise DataError(
                f"{self.name}: the header gives the sizes {self.hdu.shape} and BITPIX "
                f"{self.header.get('BITPIX')}; allowed: numbers"
            )
        if max(self.shape) > LARGEST_SIDE:
            raise DataError(
                f"{self.name}: the header gives the sizes {list(self.shape)}; allowed: up to {LARGEST_SIDE}"
                " a side. The header is damaged, or the field has to be cut into parts."
            )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows as float32 [stop - start, W] in the file's unit; infinite and blank pixels are NaN."""
        try:
            part = np.array(self.hdu.section[start:stop, :], np.float32)
        except Exception as error:  # as above
            raise DataError(f"{self.name}: rows {start} to {stop} cannot be read ({_first_line(error)})")
        part[~np.isfinite(part)] = np.nan
        return part

    def close(self):
        """Closes the file."""
        self._file.close()
        if self._unpacked is not None:
            self._unpacked.close()

    def _source(self):
        with open(self.path, "rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return self.path
        # Rows of a gzipped file can only be reached from its start.
        self._unpacked = tempfile.NamedTemporaryFile(suffix=".fits")  # noqa: SIM115 stays while the image is open
        with gzip.open(self.path) as packed:
            shutil.copyfileobj(packed, self._unpacked, 1 << 22)
        self._unpacked.flush()
        return self._unpacked.name

    def _choose(self, wanted):
        images = [(i, hdu) for i, hdu in enumerate(self._file) if _is_image(hdu)]
        listing = "; ".join(f"{i} {hdu.name or '-'}: {'x'.join(map(str, hdu.shape)) or 'empty'}" for i, hdu in images)
        if wanted is None:
            chosen = next((i for i, hdu in images if len(hdu.shape) == 2), None)
            if chosen is None and not any(len(hdu.shape) for _, hdu in images):
                raise DataError(f"{self.path}: the file holds no image")
            if chosen is None:
                raise DataError(
                    f"{self.path}: no image has two dimensions; it holds {listing}. Write the wanted plane"
                    " of a cube to a file of its own."
                )
            return chosen
        try:
            chosen = self._file.index_of(int(wanted) if str(wanted).isdigit() else str(wanted))
            hdu = self._file[chosen]
        except (IndexError, KeyError):
            raise DataError(f"{self.path}: there is no HDU {wanted}; it holds {listing}")
        if not _is_image(hdu) or len(hdu.shape) != 2:
            shape = list(hdu.shape) if _is_image(hdu) else "a table"
            raise DataError(
                f"{self.path}: HDU {wanted} is no image of two dimensions (received {shape}); it holds {listing}"
            )
        return chosen


@dataclass
class Field:
    """A field that is ready for the network.

    Attributes:
      image: the plane it comes from.
      conversion: to electrons.
      sky: its background, None when it was not subtracted or is not needed.
      subtract: whether the background is subtracted.
      sky_sigma: measured noise per pixel in electrons, the median over the boxes; None without a measurement.
      noise_scale: what the electrons are multiplied with for the network, besides the weight map.
      training_sigma: the network's noise, electrons per pixel.
      weight, mask: planes of the same shape, or None.
      warnings: what the user should know.
    """

    image: Plane
    conversion: units.Conversion
    sky: sky.Background | None
    subtract: bool
    sky_sigma: float | None
    noise_scale: float
    training_sigma: float | None
    weight: Plane | None
    weight_type: str
    mask: Plane | None
    warnings: list[str]

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Electrons, sky-subtracted; NaN is no data."""
        return self._electrons(start, stop, self._sigma(start, stop))

    def network_rows(self, start: int, stop: int) -> np.ndarray:
        """What the network sees: the electrons, scaled to the noise of its training where that was asked for."""
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

    def close(self):
        for plane in (self.image, self.weight, self.mask):
            if plane is not None:
                plane.close()

    def _electrons(self, start, stop, sigma):
        part = self.image.rows(start, stop)
        if self.subtract and self.sky is not None:
            part -= self.sky.rows(start, stop)
        part *= np.float32(self.conversion.factor)
        if sigma is not None:
            part[~np.isfinite(sigma)] = np.nan
        if self.mask is not None:
            masked = self.mask.rows(start, stop)
            part[~(masked == 0)] = np.nan
        return part

    def _sigma(self, start, stop):
        """The weight map's noise per pixel in the image's unit, NaN where bad; None without a map."""
        if self.weight is None:
            return None
        return noise_of(self.weight.rows(start, stop), self.weight_type)


def noise_of(weight: np.ndarray, kind: str) -> np.ndarray:
    """Noise per pixel from a map of RMS, variance or weight (1 / variance); NaN where it marks a bad pixel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = {"rms": lambda: weight, "variance": lambda: np.sqrt(weight), "weight": lambda: 1 / np.sqrt(weight)}[
            kind
        ]()
        return np.where((sigma > 0) & (sigma < RMS_LIMIT), sigma, np.nan).astype(np.float32)


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
    weight_type: str = "rms",
    mask: str | Path | None = None,
    match_noise: bool = False,
) -> Field:
    """Opens a field, measures its sky and finds the way to the network's electrons.

    Args:
      path, hdu: the image.
      survey, stamp_size: of the model (`Segmenter.survey`, its facts).
      unit, gain, exposure_time, zero_point: see `units.conversion`.
      background: whether to subtract the measured sky. box: pixels a side of its mesh.
      weight: a map of the noise, in the image's unit: every pixel is then scaled so that its noise is that of the
        training. `weight_type` says what it holds.
      mask: an image that is not 0 where there is no data.
      match_noise: scale the whole field so that its measured noise is that of the training.

    Raises:
      DataError, ConfigError: with the file and the remedy.
    """
    image = Plane(path, hdu)
    if min(image.shape) < stamp_size:
        raise DataError(
            f"{image.name}: the image has {image.shape[1]} x {image.shape[0]} pixels; allowed: at least"
            f" {stamp_size} a side, the stamps that the model was trained on. Pad it with NaN."
        )
    others: dict[str, Any] = {}
    for name, other in (("weight", weight), ("mask", mask)):
        others[name] = Plane(other) if other is not None else None
        if other is not None and others[name].shape != image.shape:
            raise DataError(
                f"{others[name].name}: the {name} map has the shape {list(others[name].shape)}; allowed:"
                f" {list(image.shape)}, that of the image"
            )
    scaled = match_noise or weight is not None
    if scaled and not survey:
        raise DataError(
            f"{path}: scaling to the training's noise needs a model that names its survey. Push a newer model."
        )
    try:
        converted = units.conversion(
            image.header, survey, unit, gain, exposure_time, zero_point, image.name, image.integer
        )
    except DataError:
        if not scaled or unit or image.integer:
            raise
        # Scaled by its own noise, an image needs no unit; its fluxes stay in whatever unit it has.
        converted = units.Conversion(1.0, "unknown unit, left as it is", counted=False, calibrated=False)
    training: Any = survey["sky_sigma"] if survey else None
    field = Field(image, converted, None, False, None, 1.0, training, others["weight"], weight_type, others["mask"], [])
    measured = sky.measure(lambda start, stop: field.rows(start, stop) / converted.factor, image.shape, box)
    if measured is None:
        raise DataError(
            f"{image.name}: too few pixels hold data to measure the sky, or none does. Give an image with data."
        )
    field.sky, field.subtract = measured, background
    field.sky_sigma = measured.sky_sigma * converted.factor
    if not field.sky_sigma > 0:
        raise DataError(
            f"{image.name}: the image has no noise (all pixels of the sky are equal). Give an observed image."
        )
    if match_noise and weight is None:
        field.noise_scale = training / field.sky_sigma
    field.warnings += _warnings(field, survey, scaled)
    return field


def pixel_scale(header) -> float | None:
    """Arcsec per pixel from a header's celestial WCS; None without one."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    wcs = celestial_wcs(header)
    return None if wcs is None else float(np.mean(proj_plane_pixel_scales(wcs)) * 3600.0)


def celestial_wcs(header):
    """The two-dimensional celestial WCS of a header, or None."""
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header, naxis=2)
        except Exception:  # wcslib raises many kinds for a damaged WCS; the field itself is still good
            return None
    return wcs if wcs.has_celestial else None


def _warnings(field, survey, scaled):
    found = []
    if field.image.unreadable:
        found.append(f"the header's values of {', '.join(field.image.unreadable)} cannot be read and are left out")
    if survey and not scaled:
        ratio = field.sky_sigma / survey["sky_sigma"]
        if abs(ratio - 1) > NOISE_TOLERANCE:
            found.append(
                f"the sky noise is {field.sky_sigma:.4g} e- per pixel, {ratio:.3g} times the {survey['sky_sigma']:.4g}"
                " e- that the model was trained with: its probabilities are not calibrated for this field."
                " --match-noise or --weight scale the field to the training's noise."
            )
    scale = pixel_scale(field.image.header)
    if survey and scale and abs(scale / survey["pixel_scale"] - 1) > SCALE_TOLERANCE:
        found.append(
            f"a pixel is {scale:.4g} arcsec, and {survey['pixel_scale']:g} in the training: galaxies look"
            " larger or smaller than those the model knows"
        )
    return found


def _readable(header):
    """A copy without the cards whose values cannot be read, such as NaN, and the keywords of those."""
    from astropy.io import fits

    cards, left_out = [], []
    for card in header.cards:
        try:
            str(card.value)
        except fits.VerifyError:
            left_out.append(card.keyword)
        else:
            cards.append(card)
    return fits.Header(cards), left_out


def _is_image(hdu):
    """Whether an HDU holds an image: a damaged one has no shape, or a type that cannot be read."""
    from astropy.io import fits

    try:
        return getattr(hdu, "is_image", False) and hasattr(hdu, "shape")
    except fits.VerifyError:
        return False


def _check_counts(path):
    """Raises ValueError when a header names more axes or columns than FITS has, to which libraries would count, or
    data of negative size, after which the same header would come again and again."""
    from astropy.io import fits

    with open(path, "rb") as file:
        while True:
            try:
                header = fits.Header.fromfile(file)
                counts = {name: header[name] for name in COUNTS if name in header}
            except Exception:  # the end of the file, or damage of which astropy tells more
                return
            wrong = [
                f"{name} is {value}"
                for name, value in counts.items()
                if isinstance(value, (int, float)) and value > MOST
            ]
            if wrong:
                raise ValueError(f"{wrong[0]}; allowed: at most {MOST}")
            try:
                size = header.data_size_padded
            except Exception:  # as above
                return
            if size < 0:
                raise ValueError(f"the size of the data is negative: {size} bytes")
            file.seek(size, 1)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
