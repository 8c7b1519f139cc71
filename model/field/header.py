"""The numbers of a FITS header: read in one place, from the image's header and then the primary one, checked for sense.

Headers are written by many hands. A gain may be a camera's setting, a zero point 0 for "unknown" or that of one second,
a number text. What is believed and what is not is said: `Number` names its keyword, and `Numbers.ignored` the rest.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io import fits


@dataclass(frozen=True)
class Quantity:
    """Where a number is looked for, and what it can be.

    Attributes:
      keywords: the first usable one wins.
      low, high: a value outside is "not set".
      unit: what may follow the number where it is text.
      related: keywords that are named when none is usable, such as the gains of single amplifiers.
    """

    keywords: tuple[str, ...]
    low: float
    high: float
    unit: str
    related: str


# EGAIN and CCDGAIN are electrons per count by definition; GAIN is the camera's setting as often (an "ISO" of 139).
# A coadd's gain counts all its exposures: hence the wide range.
QUANTITIES = {
    "gain": Quantity(("EGAIN", "CCDGAIN", "ATODGAIN", "GAIN"), 1e-4, 1e6, r"(photo)?e[^\d]*", r".*GAIN.*|ATODGN.*"),
    "exposure_time": Quantity(
        ("EXPTIME", "EXPOSURE", "TEXPTIME", "EXP_TIME", "XPOSURE"),
        1e-6,
        1e9,
        r"s|secs?|seconds?",
        r".*EXP.*TIM.*|.*XPOSURE.*|.*EXPOS.*|.*ITIME.*",
    ),
    "zero_point": Quantity(
        ("MAGZERO", "MAGZEROP", "MAGZP", "ZP", "ZEROPNT", "ZPT", "PHOTZP", "ZPAB", "MAGZPT"),
        10.0,
        40.0,
        r"(ab)?\s*mags?.*",
        r".*MAGZ.*|(?!PHOTZPT).*ZP.*|ZERO.*P.*",  # PHOTZPT of Hubble is the same for all images
    ),
    "pixel_area": Quantity(("PIXAR_SR",), 1e-20, 1e-3, r"sr|steradian", r"PIXAR.*"),
}
PER_SECOND = ("MAGZPT",)  # by the custom of the pipelines that write it
_SECOND = re.compile(r"(\bper|/|\b1|\b1\.0|\bone)\s*-?\s*s(ec(ond)?s?)?\b|\bcounts?/s|\bs-1\b", re.IGNORECASE)
_NUMBER = re.compile(r"\s*([+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?)\s*[\[(]?\s*(.*?)\s*[\])]?\s*", re.IGNORECASE)
# What describes an HDU's own data, or itself, is not inherited; nor are commentaries and checksums.
_OWN = re.compile(
    r"SIMPLE|XTENSION|Z?BITPIX|Z?NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|EXTNAME|EXTVER|EXTLEVEL|INHERIT|B(SCALE|ZERO)|BLANK"
    r"|DATASUM|CHECKSUM|COMMENT|HISTORY|HIERARCH|NEXTEND|END|"
)
_FRAME = re.compile(r"RADE(CS|S)YS|EQUINOX|MJD-OBS|DATE-OBS")
WCS_KEYWORD = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d+|CRVAL\d+|CRPIX\d+|CDELT\d+|CUNIT\d+|CROTA\d+|CD\d+_\d+|PC\d+_\d+|PV\d+_\d+|PS\d+_\d+|"
    r"WAT\d+_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|A_ORDER|B_ORDER|AP_ORDER|BP_ORDER|[AB]P?_\d_\d|[AB]_DMAX|"
    r"MJD-OBS|DATE-OBS)[A-Z]?|(CPDIS|CQDIS|DP|DQ|CPERR|D2IM|AXISCORR).*"
)


@dataclass(frozen=True)
class Number:
    """A number that is believed, its keyword, and whether a zero point is that of one count per second."""

    value: float
    keyword: str
    per_second: bool = False

    def __str__(self) -> str:
        return f"{self.keyword} = {self.value:g}"


@dataclass(frozen=True)
class Numbers:
    """What a header says of each of `QUANTITIES`, and sentences on what it says and is not believed."""

    found: dict[str, Number]
    ignored: dict[str, list[str]] = field(default_factory=dict)


def inherit(
    image: "fits.Header", primary: "fits.Header | None", same_shape: bool
) -> tuple["fits.Header", frozenset[str]]:
    """The image's header with what only the primary one has, and the keywords that came from there.

    A WCS is taken as a whole or not at all, and not from a primary image of another shape. INHERIT = F forbids it all.
    """
    merged = image.copy()
    if image.get("INHERIT", True) is False or primary is None:
        return merged, frozenset()
    own_wcs = any(key.startswith("CTYPE") for key in image)
    taken = []
    for card in primary.cards:
        key = card.keyword
        if key in image or _OWN.fullmatch(key):
            continue
        if WCS_KEYWORD.fullmatch(key) and not _FRAME.fullmatch(key) and (own_wcs or not same_shape):
            continue
        merged.append(card, end=True)
        taken.append(key)
    return merged, frozenset(taken)


def read_numbers(header: Mapping, inherited: Collection[str] = (), elsewhere: Mapping | None = None) -> Numbers:
    """The numbers that an image's electrons depend on.

    Args:
      header: a mapping of keywords, as a FITS header or a dict.
      inherited: keywords that the primary header supplied.
      elsewhere: a header that does not count, such as the primary one under INHERIT = F; named where it has a keyword.
    """
    found, ignored = {}, {}
    for name, quantity in QUANTITIES.items():
        usable, notes = [], []
        for keyword in quantity.keywords:
            if keyword not in header:
                continue
            value = parse(header[keyword], quantity.unit)
            place = f"{keyword} of the primary header" if keyword in inherited else keyword
            if value is None:
                notes.append(f"{place} = {_shown(header[keyword])} is not a number")
            elif not quantity.low <= value <= quantity.high:
                notes.append(
                    f"{place} = {_shown(header[keyword])} is taken as not set (allowed: {quantity.low:g} to"
                    f" {quantity.high:g})"
                )
            else:
                second = name == "zero_point" and (keyword in PER_SECOND or _per_second(header, keyword))
                usable.append(Number(value, place, second))
        if name == "zero_point" and not usable:
            usable += _derived_zero_points(header)
        usable.sort(key=lambda number: number.per_second)  # that of the image's own unit first; the order stays else
        if usable:
            found[name] = usable[0]
            notes += [
                f"{other} is not used, {usable[0]} is"
                for other in usable[1:]
                if not math.isclose(other.value, usable[0].value, rel_tol=1e-3)
            ]
        else:
            notes += _related(header, quantity, elsewhere)
        ignored[name] = notes
    return Numbers(found, ignored)


def _derived_zero_points(header: Mapping) -> list[Number]:
    """AB zero points from other keywords: the flux of magnitude 0 of LSST's and HSC's pipelines, the sensitivity of
    Hubble's, PHOTFLAM in erg/s/cm2/A of one count per second at the wavelength PHOTPLAM in A (ACS data handbook)."""
    flux, flam, plam = (parse(header.get(key)) for key in ("FLUXMAG0", "PHOTFLAM", "PHOTPLAM"))
    found = []
    if flux is not None and flux > 0:
        found.append(Number(2.5 * math.log10(flux), "zero point of FLUXMAG0"))
    if flam is not None and plam is not None and flam > 0 and plam > 0:
        value = -2.5 * math.log10(flam) - 5 * math.log10(plam) - 2.408
        found.append(Number(value, "zero point of PHOTFLAM and PHOTPLAM", per_second=True))
    low, high = QUANTITIES["zero_point"].low, QUANTITIES["zero_point"].high
    return [number for number in found if low <= number.value <= high]


def parse(value: Any, unit: str = "") -> float | None:
    """A header's value as a finite number; text may hold one, with a unit that matches `unit` behind it. Else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip().strip("'\""))
        if match is None or (match[4] and not re.fullmatch(unit, match[4], re.IGNORECASE)):
            return None
        value = float(match[1].upper().replace("D", "E"))
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _per_second(header: "fits.Header", keyword: str) -> bool:
    comments = getattr(header, "comments", None)
    return comments is not None and bool(_SECOND.search(comments[keyword]))


def _related(header: "fits.Header", quantity: Quantity, elsewhere: "fits.Header | None") -> list[str]:
    pattern = re.compile(quantity.related)
    is_number = lambda source, key: parse(source[key], quantity.unit) is not None
    notes = [
        f"the header has {key} = {_shown(header[key])}, which may be meant"
        for key in header
        if key not in quantity.keywords and pattern.fullmatch(key) and is_number(header, key)
    ][:4]
    return notes + [
        f"the primary header has {key} = {_shown(elsewhere[key])}, and INHERIT = F says that it is not the image's"
        for key in quantity.keywords
        if elsewhere is not None and key in elsewhere and key not in header
    ]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)[:40]
