"""Simulates a span: a Beam job over shards, each written under a temporary name and renamed when whole.

A span holds `{split}-*.tfrecord.gz`, `settings.json` (written first: what the span is) and `manifest.json` (written
last: that it is whole). While the job runs, `parts/` holds one small file per finished shard with its counts, from
which an interrupted job goes on and from which progress is read, whatever runner does the work.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from blendinator.beam_errors import end_with_a_dead_worker, unwrap
from blendinator.config import SimulationConfig
from blendinator.data import spans
from blendinator.data.population import POPULATIONS
from blendinator.data.records import NUM_CLASSES
from blendinator.data.scene import Simulator, read_libraries, split_sizes
from blendinator.data.shards import PARTS, Shard, pending, read_part, shards, write_shard
from blendinator.errors import BlendinatorError, DataError
from blendinator.files import remove_tree, write_error, write_json
from blendinator.former_keys import migrate_simulation
from blendinator.lock import hold
from blendinator.stack import quiet_beam, use_in_memory_runner
from blendinator.stores import ObjectPath, Place

SETTINGS = "settings.json"
LIBRARIES = {"source": "catalog", "stamps": "stamps"}  # arguments of `Simulator` -> keys of the settings
SCENES_PER_WORKER = 3000  # a further process takes some 10 s to start, in which one simulates this many scenes


def simulate_span(
    config: SimulationConfig,
    data_root: str | Place,
    span: int,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    pipeline_args: tuple[str, ...] | None = None,
) -> dict:
    """Simulates a span, or completes one that was interrupted, and returns its manifest.

    A complete span of the same settings is left as it is.

    Args:
      config: the settings; scenes depend on these, the span and their number only.
      data_root: folder of the spans, also in an object store.
      span: number of the span, 0 or more.
      workers: processes; 0 for one per core, fewer where the span is too small to repay their start. The files are the
        same for any number.
      progress: called with (scenes done, scenes in all) now and then, from another thread.
      pipeline_args: Beam's options for another runner, instead of `workers`; it must see the same files.

    Raises:
      DataError: the folder holds a span of other settings or cannot be written (disk full, permissions), or the
        catalogue cannot be used.
      BusyError: another process simulates this span.
    """
    folder = spans.span_dir(data_root, span)
    wanted = span_settings(config, span)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                hold(
                    folder.with_name(f".{folder.name}.lock"),
                    "simulate",
                    "simulates this span. Wait until it has ended.",
                )
            )
        except OSError as error:
            raise write_error(folder, error)
        return _simulate(config, folder, span, wanted, workers, progress, pipeline_args)


def _simulate(
    config: SimulationConfig,
    folder: Place,
    span: int,
    wanted: dict,
    workers: int,
    progress: Callable[[int, int], None] | None,
    pipeline_args: tuple[str, ...] | None,
) -> dict:
    _claim(folder, wanted)
    if spans.find_fault(folder) is None:
        total = sum(split_sizes(config).values())
        if progress:
            progress(total, total)
        return spans.read_manifest(folder)
    try:
        (folder / spans.MANIFEST).unlink(missing_ok=True)  # of a span that has lost a file: it is completed
    except OSError as error:
        raise write_error(folder, error)
    todo = pending(folder, config)
    _check_space(folder, config, todo)
    if todo:
        if pipeline_args is None:
            scenes = sum(shard.stop - shard.start for shard in todo)
            workers = workers or min(os.cpu_count() or 1, max(1, scenes // SCENES_PER_WORKER))
            pipeline_args = _local_args(min(workers, len(todo)))
        with quiet_beam(), _Progress(folder, config, progress):
            _run(todo, config, str(folder), span, pipeline_args)
    return _finish(folder, config, wanted)


def span_settings(config: SimulationConfig, span: int) -> dict:
    """What defines a span's content, as JSON holds it: settings, span and the libraries that are used, if any."""
    settings = {"format_version": spans.FORMAT_VERSION, "span": span, "simulation": dataclasses.asdict(config)}
    for name, library in read_libraries(config).items():
        settings[LIBRARIES[name]] = library.provenance
    return json.loads(json.dumps(settings))


class _WriteShard(beam.DoFn):
    """Writes the shards it is given."""

    def __init__(self, config: SimulationConfig, folder: str, span: int) -> None:
        self._config, self._folder, self._span = config, folder, span

    def setup(self) -> None:
        self._simulator = Simulator.configured(self._config)

    def process(self, shard: Shard) -> Iterator[str]:
        write_shard(shard, self._simulator, self._folder, self._span)
        yield shard.name


def _run(todo: list[Shard], config: SimulationConfig, folder: str, span: int, pipeline_args: tuple[str, ...]) -> None:
    use_in_memory_runner()
    try:
        with end_with_a_dead_worker(), beam.Pipeline(options=PipelineOptions(list(pipeline_args))) as pipeline:
            (
                pipeline
                | "Shards" >> beam.Create(todo, reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "Simulate" >> beam.ParDo(_WriteShard(config, folder, span))
            )
    except Exception as error:
        ours = unwrap(error)
        if ours is None:
            raise
        raise ours from None


def _local_args(workers: int) -> tuple[str, ...]:
    if workers == 1:
        return ("--runner=FnApiRunner", "--direct_running_mode=in_memory")
    return ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}")


def _claim(folder: Place, wanted: dict) -> None:
    """Makes the folder this span's, or raises DataError if it already holds another one."""
    path = folder / SETTINGS
    go_on = (
        "Choose another span number or output_dir, restore the settings, or remove the folder "
        "if its scenes are no longer needed."
    )
    try:
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise DataError(f"{path}: the settings of this span cannot be read ({error}). {go_on}")
            if isinstance(found, dict) and isinstance(found.get("simulation"), dict):
                found["simulation"] = migrate_simulation(found["simulation"])
            if _content(found) != _content(wanted):
                changed = ", ".join(_differences(_content(found), _content(wanted)))
                raise DataError(f"{folder}: this span was simulated with other settings ({changed}). {go_on}")
            return
        # Killed, or on a full disk, between making the folders and writing the settings: nothing was begun.
        begun = folder.is_dir() and any(path.name != PARTS and path.suffix != ".tmp" for path in folder.iterdir())
        if begun or any((folder / PARTS).glob("*")):
            raise DataError(f"{folder}: the folder is not empty and holds no span of this simulator. {go_on}")
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
    except OSError as error:
        raise write_error(folder, error)


def _content(settings: Any) -> Any:
    """Settings without the paths of libraries, which have many spellings: their checksums say which ones they are."""
    simulation = settings.get("simulation") if isinstance(settings, dict) else None
    if not isinstance(simulation, dict):
        return settings
    return {**settings, "simulation": {**simulation, **{name: "" for name in LIBRARIES.values() if settings.get(name)}}}


def _differences(found: dict, wanted: dict, prefix: str = "") -> Iterator[str]:
    for key in sorted(set(found) | set(wanted)):
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}: {a!r} there, {b!r} wanted"


def _check_space(folder: Place, config: SimulationConfig, todo: list[Shard]) -> None:
    if isinstance(folder, ObjectPath):
        return
    needed = sum(shard.stop - shard.start for shard in todo) * config.stamp_size**2 * spans.BYTES_PER_PIXEL
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: the disk has {free / 1e9:.1f} GB left and the span may need {needed / 1e9:.1f} GB. "
            "Free some space, choose another output_dir, or simulate fewer scenes."
        )


def _finish(folder: Place, config: SimulationConfig, wanted: dict) -> dict:
    """Gathers the parts into the manifest."""
    files, splits = {}, {}
    pixels = {name: np.zeros(NUM_CLASSES, np.int64) for name in POPULATIONS}
    for shard in shards(config):
        part = read_part(folder, shard)
        if part is None:
            raise DataError(f"{folder / shard.name}: this shard was not written. Call `blendinator simulate` again.")
        files[shard.name] = {name: part[name] for name in ("split", "records", "bytes", "sha256")}
        counts = splits.setdefault(shard.split, {"records": 0, **dict.fromkeys(POPULATIONS, 0)})
        counts["records"] += part["records"]
        for name in POPULATIONS:
            counts[name] += part["populations"][name]
            pixels[name] += part["class_pixels"][name]
    simulator = Simulator(config)
    manifest = {
        **wanted,
        "seed": config.seed,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("blendinator", "numpy", "scipy", "galsim", "surveycodex")
        },
        "sky_sigma": simulator.sky_sigma,
        "pixel_scale": simulator.survey.pixel_scale,
        "zero_point": simulator.survey.zero_point,
        "exposure_time": simulator.survey.exposure_time,
        "psf_fwhm": simulator.survey.psf_fwhm * config.psf_scale,
        "splits": splits,
        "class_shares": {name: (n / n.sum()).tolist() for name, n in pixels.items() if n.sum()},
        "files": files,
        "complete": True,
    }
    try:
        write_json(folder / spans.MANIFEST, manifest)
        for left in folder.glob("*.tmp"):  # of workers that their engine lost, whose shards others have written
            left.unlink(missing_ok=True)
        remove_tree(folder / PARTS)
    except OSError as error:
        raise write_error(folder / spans.MANIFEST, error)
    return manifest


class _Progress:
    """Reports the number of finished scenes while a job runs, by looking at the part files."""

    def __init__(
        self, folder: Place, config: SimulationConfig, callback: Callable[[int, int], None] | None, seconds: float = 0.5
    ) -> None:
        self._folder, self._callback, self._seconds = folder, callback, seconds
        self._sizes = {f"{shard.name}.json": shard.stop - shard.start for shard in shards(config)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(callback,), daemon=True)

    def __enter__(self) -> None:
        if self._callback:
            self._thread.start()

    def __exit__(self, *error: object) -> None:
        if self._callback:
            self._stop.set()
            self._thread.join()

    def _watch(self, callback: Callable[[int, int], None]) -> None:
        while True:
            last = self._stop.wait(self._seconds)
            with contextlib.suppress(BlendinatorError):  # of a store: the work itself will meet it
                done = sum(self._sizes.get(path.name, 0) for path in (self._folder / PARTS).glob("*.json"))
                callback(done, sum(self._sizes.values()))
            if last:
                return
