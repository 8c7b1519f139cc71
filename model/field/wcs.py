"""Where a field's pixels lie on the sky: ICRS from whatever frame, axis order and distortion its WCS has.

Astropy reads the WCS: SIP, TPV, TNX and ZPX polynomials and, from the file's other HDUs, lookup tables of distortion.
What it cannot use is left out step by step, and said.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from blendinator.model.field.header import WCS_KEYWORD

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

_TABLES = re.compile(r"(CPDIS|CQDIS|DP|DQ|CPERR|D2IM|AXISCORR).*")
_POLYNOMIALS = re.compile(r"[AB]P?_(ORDER|DMAX|\d_\d)")
_AXES = re.compile(r"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CD|PC|PV|PS|WAT)(\d+)(?:_(\d+))?([A-Z]?)")
_PIXELS = ("CRPIX",)  # numbered by pixel axis only
_MATRIX = ("CD", "PC")  # by world and pixel axis


@dataclass(frozen=True)
class Celestial:
    """Pixels to ICRS and back.

    Attributes:
      wcs: of two celestial axes, in any order.
      frame: an astropy frame.
    """

    wcs: Any
    frame: Any

    def to_sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ICRS right ascension and declination in degrees of 0-based columns and rows."""
        from astropy.coordinates import SkyCoord

        world = self.wcs.all_pix2world(x, y, 0)
        sky = SkyCoord(
            np.asarray(world[self.wcs.wcs.lng]), np.asarray(world[self.wcs.wcs.lat]), unit="deg", frame=self.frame
        )
        if self.frame.name == "icrs":
            return sky.ra.deg, sky.dec.deg
        return sky.icrs.ra.deg, sky.icrs.dec.deg

    def to_pixels(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """0-based columns and rows of ICRS positions in degrees; NaN where the projection does not reach."""
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(np.asarray(ra, float), np.asarray(dec, float), unit="deg", frame="icrs")
        if self.frame.name != "icrs":
            sky = sky.transform_to(self.frame)
        world: list[Any] = [None, None]
        world[self.wcs.wcs.lng], world[self.wcs.wcs.lat] = sky.spherical.lon.deg, sky.spherical.lat.deg
        x, y = self.wcs.all_world2pix(*world, 0, quiet=True)
        return x, y

    @property
    def pixel_scale(self) -> float:
        """Arcsec per pixel, the mean of both axes."""
        from astropy.wcs.utils import proj_plane_pixel_scales

        return float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600.0)


def celestial(
    header: "fits.Header", hdus: Any = None, axes: tuple[int, int] = (1, 2)
) -> tuple[Celestial | None, list[str]]:
    """The celestial WCS of two axes, or None; and what of it cannot be used.

    Args:
      header: the image's.
      hdus: the HDU list, for lookup tables.
      axes: the FITS numbers of the image's axes.
    """
    steps = [("", header, hdus)]
    if any(_TABLES.fullmatch(key) for key in header):
        header = _without(header, _TABLES)
        steps.append(("the lookup tables of its distortion", header, None))
    if any(_POLYNOMIALS.fullmatch(key) for key in header):
        steps.append(("its distortion", _without(header, _POLYNOMIALS), None))
    reason = ""
    for left_out, cards, files in steps:
        try:
            wcs = _read(cards, files, axes)
        except Exception as error:  # wcslib and astropy raise many kinds; the field itself is still good
            reason = reason or _reason(error)
            continue
        said = (
            [f"the WCS is used without {left_out} ({reason}): positions on the sky are off by that"] if left_out else []
        )
        if wcs is None:
            return None, said
        frame = _frame(wcs)
        if frame is None:
            return None, [
                *said,
                f"the coordinate frame of the WCS ({', '.join(wcs.wcs.ctype)}, {wcs.wcs.radesys or 'no RADESYS'})"
                " cannot be brought to ICRS: there are no ra and dec",
            ]
        if wcs.sip is not None and not any(kind.endswith("-SIP") for kind in wcs.wcs.ctype):
            said.append("the WCS has SIP polynomials that its CTYPE does not announce: they are used")
        if wcs.cpdis1 is not None or wcs.cpdis2 is not None or wcs.det2im1 is not None or wcs.det2im2 is not None:
            said.append(
                "the WCS has lookup tables of distortion: the catalogue's positions follow them, the WCS in the maps'"
                " headers cannot"
            )
        return Celestial(wcs, frame), said
    return None, [f"the WCS cannot be used ({reason}): there are no ra and dec"]


def output_header(header: "fits.Header", axes: tuple[int, int] = (1, 2)) -> "fits.Header":
    """The WCS cards of two axes alone, numbered 1 and 2, for an image of just these.

    Lookup tables are in other HDUs, and left out.
    """
    from astropy.io import fits

    number = {axes[0]: 1, axes[1]: 2}
    out = fits.Header()
    for card in header.cards:
        key = card.keyword
        if not WCS_KEYWORD.fullmatch(key) or _TABLES.fullmatch(key) or key.startswith("WCSAXES"):
            continue
        match = _AXES.fullmatch(key)
        if match:
            name = key[: match.start(1)]
            numbers = [int(match[1])]
            if name in _MATRIX:
                numbers.append(int(match[2] or 0))
            if any(axis not in number for axis in numbers):
                continue
            # PVi_m, PSi_m and WATi_nnn: the second is not an axis.
            second = "" if match[2] is None else f"_{number[int(match[2])] if name in _MATRIX else match[2]}"
            key = f"{name}{number[numbers[0]]}{second}{match[3]}"
        # A card as it is keeps blanks at the end of its text, which TNX counts on.
        out.append(card if key == card.keyword else (key, card.value, card.comment), end=True)
    if out:
        out.insert(0, ("WCSAXES", 2))
    return out


def _read(header: "fits.Header", hdus: Any, axes: tuple[int, int]) -> "WCS | None":
    """The two-dimensional WCS; None where it has no sky."""
    from astropy.wcs import WCS

    # Of more axes wcslib takes any two; distortions exist in two alone.
    cards = header if axes == (1, 2) and not _has_more(header) else _with_tables(header, axes)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        wcs = WCS(cards, fobj=hdus, naxis=2)
        if not any(wcs.wcs.ctype):
            return None
        wcs.wcs.set()
        if not wcs.has_celestial:
            return None
        x, y = wcs.wcs.crpix
        wcs.all_pix2world([x], [y], 1)
    return wcs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without astropy's log, of which `celestial` says what matters."""
    from astropy import log

    level = log.level
    log.setLevel("ERROR")
    try:
        yield
    finally:
        log.setLevel(level)


def _has_more(header: "fits.Header") -> bool:
    return any((match := _AXES.fullmatch(key)) and int(match[1]) > 2 for key in header)


def _with_tables(header: "fits.Header", axes: tuple[int, int]) -> "fits.Header":
    """The two axes' cards, and those of lookup tables, which name no other axes."""
    cards = output_header(header, axes)
    for card in header.cards:
        if _TABLES.fullmatch(card.keyword):
            cards.append(card, end=True)
    return cards


def _frame(wcs: "WCS") -> Any:
    from astropy import coordinates
    from astropy.wcs.utils import wcs_to_celestial_frame

    kind = wcs.wcs.lngtyp.strip()
    if kind == "ELON":
        equinox = wcs.wcs.equinox
        return coordinates.BarycentricMeanEcliptic(equinox=f"J{equinox if np.isfinite(equinox) else 2000.0}")
    if kind == "SLON":
        return coordinates.Supergalactic()
    if kind not in ("RA", "GLON"):  # of the Earth, the Sun or a planet
        return None
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError:  # a RADESYS that is not known
        return None


def _without(header: "fits.Header", pattern: re.Pattern[str]) -> "fits.Header":
    """A header without some keywords, and without the suffix that announces a polynomial."""
    from astropy.io import fits

    cards = []
    for card in header.cards:
        if pattern.fullmatch(card.keyword):
            continue
        if pattern is _POLYNOMIALS and card.keyword.startswith("CTYPE"):
            card = fits.Card(card.keyword, str(card.value).replace("-SIP", ""), card.comment)
        cards.append(card)
    return fits.Header(cards)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("ERROR"):  # wcslib's place in its own code
        lines = lines[1:]
    return lines[0].rstrip(".") if lines else type(error).__name__
