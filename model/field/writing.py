"""Writes the maps of a field as one multi-extension FITS file, strip by strip.

Every array's place is known before the first pixel: the file is laid out at once, each strip goes where it belongs, and
the checksums follow at the end. Memory does not grow with the field.
"""

import contextlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from blendinator.errors import DataError
from blendinator.escape import printable
from blendinator.files import write_errors
from blendinator.model.maps import NO_DATA

if TYPE_CHECKING:
    from astropy.io import fits

BLOCK = 2880  # bytes of a FITS block
CHUNK = 2**22  # pixels renumbered at a time
# EXTNAME: (type on disk, what it holds)
PLANES = {
    "CLASS": ("u1", "0 background, 1 one source, 2 blended, 255 no data"),
    "P_GALAXY": (">f4", "probability of exactly one source"),
    "P_BLENDED": (">f4", "probability of two or more galaxies"),
    "ENTROPY": (">f4", "entropy of the class probabilities, nats"),
    "MUTUAL_INFO": (">f4", "mutual information of class and draw, nats"),
}
LABELS, SAMPLES = "LABELS", "SAMPLES"
_OPTIONAL = {
    LABELS: (">i4", "id of the catalogue's object that the pixel belongs to, 0 for none"),
    SAMPLES: ("u1", "plausible class maps, one a plane"),
}
_UNITS = {"ENTROPY": "nat", "MUTUAL_INFO": "nat"}


def planes_of(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The planes of `PLANES` and `SAMPLES` from the maps of `Segmenter.run`."""
    probabilities = maps["probabilities"]
    return {
        "CLASS": maps["class_map"],
        "P_GALAXY": probabilities[..., 1],
        "P_BLENDED": probabilities[..., 2],
        "ENTROPY": maps["entropy"],
        "MUTUAL_INFO": maps["mutual_information"],
        SAMPLES: maps["samples"],
    }


class MapWriter:
    """The file of maps. Use as a context: left without an error it is whole.

    Args:
      path: of the file, as messages name it.
      part: where it is written until it gets that name (`outputs.Together`).
      shape: H, W of the field.
      num_samples: sample maps in the file; 0 for none.
      header: the WCS cards of each extension.
      cards: (keyword, value, comment) for the primary header.
      history: lines for the primary header.
      labels: whether there is a plane of labels, see `write_labels`.

    Raises:
      DataError: its folder lacks the space, or it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        part: Path,
        shape: tuple[int, int],
        num_samples: int,
        header: "fits.Header",
        cards: Iterable[tuple] = (),
        history: Iterable[str] = (),
        labels: bool = False,
    ) -> None:
        self.path, self.shape, self.num_samples = path, shape, num_samples
        self.part = part
        self._wcs = list(header.cards)
        self._headers, self._offsets = {}, {}
        position = self._place("PRIMARY", _primary(cards, history), 0, 0)
        for name in [*PLANES, *([LABELS] if labels else []), *([SAMPLES] if num_samples else [])]:
            extension = self._extension(name)
            size = shape[0] * shape[1] * (num_samples if name == SAMPLES else np.dtype(_type(name)).itemsize)
            position = self._place(name, extension, position, size)
        free = shutil.disk_usage(self.part.parent).free
        if free < position:
            raise DataError(
                f"{self.path}: the file will have {position / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free"
                " there. Free some space, write elsewhere, or leave the samples out."
            )
        self.bytes = position
        self._file: Any = None

    def __enter__(self) -> "MapWriter":
        with write_errors(self.path):
            self._file = open(self.part, "wb+")
            self._file.truncate(self.bytes)
            for header, start in self._headers.values():
                self._file.seek(start)
                self._file.write(header.tostring().encode("ascii"))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            with contextlib.suppress(OSError):  # on a full disk what is still in its buffer cannot be written
                self._file.close()
            return
        with write_errors(self.path):
            for name in self._headers:
                self._finish(name)
            self._file.close()

    def write(self, top: int, planes: dict[str, np.ndarray]) -> None:
        """Writes full rows of every plane, [rows, W] (samples [N, rows, W]), from row `top` on."""
        for name in self._offsets:
            if name not in ("PRIMARY", LABELS):
                for i, plane in enumerate(planes[name] if name == SAMPLES else planes[name][None]):
                    self._write(name, i * self.shape[0] + top, plane)

    def write_labels(self, top: int, numbers: np.ndarray) -> None:
        """Writes full rows of labels, int [rows, W]: numbers that `renumber` turns into ids when those are known."""
        self._write(LABELS, top, numbers)

    def renumber(self, ids: np.ndarray) -> None:
        """Replaces each label by `ids[label]`, int [1 + the largest label]."""
        height, width = self.shape
        step, kind = max(CHUNK // width, 1), np.dtype(_type(LABELS))
        for top in range(0, height, step):
            count = min(step, height - top) * width
            with write_errors(self.path):
                self._file.seek(self._offsets[LABELS] + top * width * kind.itemsize)
                numbers = np.frombuffer(self._file.read(count * kind.itemsize), kind)
            self._write(LABELS, top, ids[numbers])

    def _write(self, name: str, row: int, plane: np.ndarray) -> None:
        kind = np.dtype(_type(name))
        with write_errors(self.path):
            self._file.seek(self._offsets[name] + row * self.shape[1] * kind.itemsize)
            self._file.write(np.ascontiguousarray(plane, kind).data)

    def _place(self, name: str, header: "fits.Header", position: int, size: int) -> int:
        self._headers[name] = header, position
        start = position + len(header.tostring())
        self._offsets[name] = start
        return start + -(-size // BLOCK) * BLOCK

    def _extension(self, name: str) -> "fits.Header":
        from astropy.io import fits

        kind = _type(name)
        header = fits.Header()
        header["XTENSION"] = ("IMAGE", "image extension")
        header["BITPIX"] = {"u1": 8, ">i4": 32, ">f4": -32}[kind]
        sides = [self.shape[1], self.shape[0], *([self.num_samples] if name == SAMPLES else [])]
        header["NAXIS"] = len(sides)
        for i, side in enumerate(sides, 1):
            header[f"NAXIS{i}"] = side
        header["PCOUNT"], header["GCOUNT"] = 0, 1
        header["EXTNAME"] = name
        if name in _UNITS:
            header["BUNIT"] = _UNITS[name]
        header["COMMENT"] = {**PLANES, **_OPTIONAL}[name][1]
        for card in self._wcs:
            header.append(card, end=True)
        _reserve_checksums(header)
        return header

    def _finish(self, name: str) -> None:
        """Checksums of one HDU, over what the file holds."""
        header, start = self._headers[name]
        data = self._offsets[name]
        following = [offset for _, offset in self._headers.values() if offset > start]
        total = datasum(self._file, data, (min(following) if following else self.bytes) - data)
        set_checksums(header, total)
        self._file.seek(start)
        self._file.write(header.tostring().encode("ascii"))


def datasum(file: BinaryIO, start: int, length: int) -> int:
    """The FITS data sum of a part of a file: its 32-bit words added in ones' complement."""
    file.seek(start)
    total, left = 0, length
    while left:
        part = file.read(min(left, 1 << 24))
        if not part:
            raise OSError("the file is shorter than it was laid out")
        total += int(np.frombuffer(part, ">u4").sum(dtype=np.uint64))
        left -= len(part)
    return _fold(total)


def set_checksums(header: "fits.Header", total: int) -> None:
    """Sets DATASUM and CHECKSUM of a header whose data have the sum `total` (FITS standard 4.0, appendix J)."""
    header["DATASUM"] = str(total)
    header["CHECKSUM"] = "0" * 16
    words = np.frombuffer(header.tostring().encode("ascii"), ">u4")
    header["CHECKSUM"] = encode_checksum(~_fold(int(words.sum(dtype=np.uint64)) + total) & 0xFFFFFFFF)


def encode_checksum(value: int) -> str:
    """The 16 characters that add up to a 32-bit value: each byte in four quarters, away from punctuation."""
    quarters = np.zeros((4, 4), int)
    for i, byte in enumerate(value.to_bytes(4, "big")):
        quarters[:, i] = byte // 4 + ord("0")
        quarters[0, i] += byte % 4
    excluded = [*range(0x3A, 0x41), *range(0x5B, 0x61)]
    while np.isin(quarters, excluded).any():
        for j in (0, 2):  # moving one down and its neighbour up keeps the sum
            bad = np.isin(quarters[j : j + 2], excluded).any(axis=0)
            quarters[j] += bad
            quarters[j + 1] -= bad
    text = "".join(map(chr, quarters.ravel()))
    return text[-1] + text[:-1]


def _fold(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _type(name: str) -> str:
    return {**PLANES, **_OPTIONAL}[name][0]


def _primary(cards: Iterable[tuple], history: Iterable[str]) -> "fits.Header":
    from astropy.io import fits

    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    header["BITPIX"], header["NAXIS"], header["EXTEND"] = 8, 0, True
    for keyword, value, comment in cards:
        header[keyword] = (value, comment)
    header["DATE"] = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "UTC")
    header["NODATA"] = (NO_DATA, "where class and samples have no data")
    for line in history:
        header["HISTORY"] = printable(line).encode("ascii", "replace").decode()
    _reserve_checksums(header)
    return header


def _reserve_checksums(header: "fits.Header") -> None:
    header["DATASUM"] = ("0" * 10, "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
