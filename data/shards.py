"""The shards of a span: which there are, how one is written, and which are still to be written.

Beside each finished shard lies its part file, in `parts/`: a small JSON file with the shard's counts and checksum.
"""

import dataclasses
import gzip
import json

import numpy as np

from blendinator.config import SimulationConfig
from blendinator.data import spans
from blendinator.data.population import POPULATIONS
from blendinator.data.records import NUM_CLASSES, encode
from blendinator.data.scene import Simulator, split_sizes, split_start
from blendinator.data.tfrecords import frame_record
from blendinator.files import atomic_write, sha256, write_error, write_json
from blendinator.stores import Place, place

PARTS = "parts"
BATCH = 128  # scenes rendered together; scenes do not depend on it


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file to write: scenes `start` to `stop` (exclusive) of the span."""

    name: str
    split: str
    start: int
    stop: int


def shards(config: SimulationConfig) -> list[Shard]:
    """Every shard of a span, in order."""
    out = []
    for split, size in split_sizes(config).items():
        first, step = split_start(config, split), config.scenes_per_shard
        count = -(-size // step)
        for i in range(count):
            stop = min((i + 1) * step, size)
            out.append(Shard(spans.shard_name(split, i, count), split, first + i * step, first + stop))
    return out


def write_shard(shard: Shard, simulator: Simulator, folder: str | Place, span: int) -> dict:
    """Writes one shard and its part file; returns the part: counts and checksum.

    Raises DataError when the file cannot be written; then no file of the final name is left.
    """
    folder = place(folder)
    target = folder / shard.name
    classes = {name: [0] * NUM_CLASSES for name in POPULATIONS}
    populations = dict.fromkeys(POPULATIONS, 0)
    try:
        # No name and no time in gzip's header: the same scenes give the same bytes. Level 1 is four times as fast as
        # the default and the files are a few per cent larger.
        with atomic_write(target) as temporary:
            with open(temporary, "wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
                for start in range(shard.start, shard.stop, BATCH):
                    for scene in simulator.scenes(span, range(start, min(start + BATCH, shard.stop))):
                        file.write(frame_record(encode(scene)))
                        populations[scene["population"]] += 1
                        counts = np.bincount(scene["mask"].ravel(), minlength=NUM_CLASSES).tolist()
                        classes[scene["population"]] = [a + b for a, b in zip(classes[scene["population"]], counts)]
            part = {
                "split": shard.split,
                "records": shard.stop - shard.start,
                "bytes": temporary.stat().st_size,
                "sha256": sha256(temporary),
                "populations": populations,
                "class_pixels": classes,
            }
        write_json(folder / PARTS / f"{shard.name}.json", part)
    except OSError as error:
        raise write_error(target, error)
    return part


def pending(folder: Place, config: SimulationConfig) -> list[Shard]:
    """Shards still to write; clears what a killed job left half-written."""
    try:
        (folder / PARTS).mkdir(exist_ok=True)
        for left in (*folder.glob("*.tmp"), *(folder / PARTS).glob("*.tmp")):
            left.unlink()
    except OSError as error:
        raise write_error(folder, error)
    return [shard for shard in shards(config) if read_part(folder, shard) is None]


def read_part(folder: Place, shard: Shard) -> dict | None:
    """The part file of a finished shard whose file is still there, else None."""
    try:
        part = json.loads((folder / PARTS / f"{shard.name}.json").read_text(encoding="utf-8"))
        return part if (folder / shard.name).stat().st_size == part["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None
