"""Segments many images with one model: what is done and unchanged is skipped, and a failure does not stop the rest."""

import functools
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blendinator.errors import BlendinatorError, ConfigError
from blendinator.model.client import Segmenter, check_draws
from blendinator.model.field import catalogue, run
from blendinator.model.field.batch import record, summary
from blendinator.model.field.batch.inputs import Image
from blendinator.model.field.outputs import Outputs, remove_leftovers
from blendinator.model.field.plane import split_hdu
from blendinator.model.field.reading import Field

BESIDE = ("weight", "mask", "truth")  # files that belong to an image
# Option of `run.run` -> its name after the image's.
SUFFIXES = {"maps": ".maps", "catalogue": ".objects", "preview": ".preview", "regions": "", "cutouts": ".cutouts"}


@dataclass(frozen=True)
class Formats:
    """Which results each image gets: their endings, see `outputs.Outputs`; None for those not wanted."""

    maps: str | None = ".fits"
    catalogue: str | None = ".ecsv"
    preview: str | None = None
    samples: bool = False
    regions: str | None = None
    cutouts: str | None = None

    def outputs(self, folder: Path, name: str, overwrite: bool) -> Outputs:
        """Where the results of an image go."""
        places: dict[str, Any] = {
            kind: folder / f"{name}{suffix}{getattr(self, kind)}" if getattr(self, kind) else None
            for kind, suffix in SUFFIXES.items()
        }
        return Outputs(**places, samples=self.samples, overwrite=overwrite)


class Listener:
    """What is told of the run as it goes on; all methods may be overridden."""

    def begin(self, name: str, number: int, total: int) -> None:
        """An image is next."""

    def opened(self, field: Field) -> None:
        """The `reading.Field` is open."""

    def advance(self, pixels: int) -> None:
        """More pixels are done."""

    def end(self, name: str, content: dict, skipped: bool) -> None:
        """An image is done, has failed, or was skipped; its record."""


@dataclass(frozen=True)
class Job:
    """What all images of a run have in common.

    Attributes:
      load: makes the `Segmenter`; called when the first image needs it.
      model: folder of the model that it loads.
      folder: for the results.
      formats: of the results.
      num_samples, seed, settings: see `run.run`.
      options: of `reading.open_field`; `weight` and `mask`, as well as `truth`, may hold {name} and {folder}, which
        stand for an image's name and folder.
      overwrite: whether another run's results, and files that no run recorded, may be replaced.
      version: of Blendinator.
      population: whose odds the probabilities have, where it is not the model's own.
    """

    load: Callable[[], Segmenter]
    model: Path
    folder: Path
    formats: Formats = Formats()
    num_samples: int = 16
    seed: int = 1
    settings: catalogue.Settings = catalogue.Settings()
    truth: str | None = None
    options: dict | None = None
    overwrite: bool = False
    version: str = ""
    population: str = ""

    def identity(self) -> dict:
        """What the results depend on besides the images; the size of the tiles is not among it."""
        options = {
            "num_samples": self.num_samples,
            "seed": self.seed,
            **asdict(self.settings),
            **asdict(self.formats),
            **{name: str(value) for name, value in (self.options or {}).items() if value not in (None, False, ())},
            **({"truth": self.truth} if self.truth else {}),
            **({"population": self.population} if self.population else {}),
        }
        model = {"version": self.model.name, "sha256": record.folder_digest(self.model)}
        return {"model": model, "options": options, "blendinator": self.version}


def segment_images(
    job: Job,
    images: Sequence[Image],
    every: Sequence[Image] | None = None,
    listener: Listener | None = None,
    command: str = "",
) -> list[dict]:
    """Segments images one after the other, and writes the summary, also when it is interrupted.

    Args:
      job: what they have in common.
      images: those of this shard. every: those of all shards, which the summary is about; by default the same.
      listener: is told of each step.
      command: see `run.run`; {path} in it stands for the image.

    Returns:
      The record of each of `images`, those that failed among them.

    Raises:
      ConfigError: the folder holds the results of another run, or files that would be replaced.
    """
    listener = listener or Listener()
    every = images if every is None else every
    identity = begin(job, every)
    run_digest, load, out = record.text_digest(identity), functools.cache(job.load), []
    try:
        for number, image in enumerate(images, 1):
            listener.begin(image.name, number, len(images))
            content, skipped = segment_image(job, image, run_digest, load, listener, command)
            out.append(content)
            listener.end(image.name, content, skipped)
    finally:
        summary.write(job.folder, summary.read_records(job.folder, every), identity)
    return out


def begin(job: Job, every: Sequence[Image]) -> dict:
    """Makes the folder this run's, before any image is segmented; returns the run's identity.

    Raises:
      ConfigError: see `segment_images`.
    """
    check_draws(job.num_samples, job.seed)
    _make(job.folder)
    identity = job.identity()
    for image in every:
        _check_places(job, image)
    record.claim(job.folder, identity, job.overwrite)
    remove_leftovers(job.folder)
    return identity


def segment_image(
    job: Job,
    image: Image,
    run_digest: str,
    load: Callable[[], Segmenter],
    listener: Listener,
    command: str,
) -> tuple[dict, bool]:
    """Segments one image, unless it is done and unchanged, and writes its results and record.

    It may be called again for the same image at any time, after an end by force or at the same time by another process:
    files appear whole, and their bytes are the same each time.

    Args:
      run_digest: `record.text_digest` of the run's identity.
      load: makes the `Segmenter`; called only if the image needs it.

    Returns:
      The record, and whether the image was skipped. A failure is recorded, not raised, unless it is one of `load`.
    """
    content, skipped = _start(job, image, run_digest)
    if skipped:
        return content, True
    path = record.record_file(job.folder, image.name)
    if content["state"] == record.RUNNING:
        segmenter = load()
        record.write(path, content)
        content |= _segment(job, segmenter, image, listener, command.replace("{path}", image.path))
    record.write(path, content)
    return content, False


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: this is not a folder. Give a folder for the results.")
    folder.mkdir(parents=True, exist_ok=True)


def _check_places(job: Job, image: Image) -> None:
    """Files that no record tells of are another's."""
    known = record.read(record.record_file(job.folder, image.name)) is not None
    job.formats.outputs(job.folder, image.name, known or job.overwrite).check()


def _start(job: Job, image: Image, run_digest: str) -> tuple[dict, bool]:
    """The record to begin with, and whether the image is done already."""
    path = record.record_file(job.folder, image.name)
    before = record.read(path)
    content = record.running(image.name, run_digest)
    try:
        content["inputs"] = {
            name: {"path": str(file), "sha256": record.file_digest(split_hdu(file, None)[0])}
            for name, file in {"image": image.path, **_beside(job, image)}.items()
        }
    except BlendinatorError as error:
        return record.failed(image.name, run_digest, error), False
    if before is not None and _is_done(job, before, content):
        return before, True
    return content, False


def _is_done(job: Job, before: dict, content: dict) -> bool:
    sums = [{name: one["sha256"] for name, one in each.get("inputs", {}).items()} for each in (before, content)]
    return (
        before.get("state") == record.DONE
        and before.get("run") == content["run"]
        and sums[0] == sums[1]
        and all(_size(job.folder / name) == size for name, size in before["outputs"].items())
    )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _beside(job: Job, image: Image) -> dict[str, str]:
    """The files that belong to an image, by option."""
    given = {**{name: (job.options or {}).get(name) for name in BESIDE}, "truth": job.truth}
    values = {"{name}": image.name, "{folder}": str(image.file.parent)}
    out = {}
    for option, text in given.items():
        if text is not None:
            for key, value in values.items():
                text = str(text).replace(key, value)
            out[option] = text
    return out


def _segment(job: Job, segmenter: Segmenter, image: Image, listener: Listener, command: str) -> dict:
    """What the record says after the work."""
    outputs = job.formats.outputs(job.folder, image.name, overwrite=True)  # those that may not be were refused
    beside, start = _beside(job, image), time.perf_counter()
    options = {**(job.options or {}), **{name: value for name, value in beside.items() if name != "truth"}}
    try:
        result = run.run(
            segmenter,
            image.path,
            outputs,
            num_samples=job.num_samples,
            seed=job.seed,
            settings=job.settings,
            truth_path=beside.get("truth"),
            progress=listener.advance,
            opened=listener.opened,
            command=command,
            **options,
        )
    except BlendinatorError as error:
        return {"state": record.FAILED, "error": str(error), "seconds": time.perf_counter() - start}
    except Exception as error:  # a defect of ours, or what a library says of a damaged file: the others go on
        return {
            "state": record.FAILED,
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
            "seconds": time.perf_counter() - start,
        }
    return {
        "state": record.DONE,
        "outputs": {path.name: path.stat().st_size for path in outputs.places()},
        "objects": result.rows.get("object", 0),
        "blends": result.rows.get("blend", 0),
        "pixels": result.report.pixels,
        "missing": result.report.missing / result.report.pixels,
        "sky_sigma": result.sky_sigma,
        "noise_ratio": result.noise_ratio,
        "pixel_scale": result.pixel_scale,
        "shape": list(result.shape),
        "wcs": result.wcs,
        "warnings": result.warnings,
        "seconds": time.perf_counter() - start,
        "network_seconds": result.report.network,
    }
