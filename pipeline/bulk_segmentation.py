"""Many images as one Beam job: `blendinator.model.field.batch.run` with the images spread over workers.

The workers write results and records as a run on one machine does, into a folder that all of them see; the records are
all that comes back. An image whose worker was killed is segmented again, by the runner or by the next call.
"""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from blendinator.beam_errors import end_with_a_dead_worker, unwrap
from blendinator.errors import BlendinatorError, DataError
from blendinator.model.client import Segmenter
from blendinator.model.field.batch import record, summary
from blendinator.model.field.batch.inputs import Image
from blendinator.model.field.batch.run import Job, Listener, begin, segment_image
from blendinator.stack import quiet_beam, use_in_memory_runner

ENDED = (record.DONE, record.FAILED)
PATIENCE = 90.0  # seconds: a network file system may show a new file up to a minute late


class SegmentImage(beam.DoFn):
    """Segments an image and writes its results and record; yields nothing.

    A model that this worker cannot load is a failure of the image, as others are: the next call tries it again.

    Args:
      job: with absolute paths, see `on_workers`.
      run_digest: see `run.segment_image`.
      command: see `run.segment_images`.

    Raises:
      DataError: this worker does not see the folder of the results.
    """

    def __init__(self, job: Job, run_digest: str, command: str) -> None:
        self._job, self._digest, self._command = job, run_digest, command
        self._process_wide = Shared()
        self._segmenter: Segmenter | None = None

    def setup(self) -> None:
        """Looks for the folder before an image is read."""
        there = record.read(self._job.folder / record.RUN_FILE) or {}
        there.pop("format", None)
        if record.text_digest(there) != self._digest:
            raise DataError(
                f"{self._job.folder}: a worker does not see this folder, or sees another one of the same name. Give a"
                " folder on storage that all workers share, at the same path."
            )

    def process(self, image: Image) -> Iterator[Any]:
        """Segments an image, unless it is done and unchanged."""
        try:
            segment_image(self._job, image, self._digest, self._load, Listener(), self._command)
        except BlendinatorError as error:  # of the model
            record.write(
                record.record_file(self._job.folder, image.name), record.failed(image.name, self._digest, error)
            )
        yield from ()

    def _load(self) -> Segmenter:
        """The model, once per process, when the first image needs it."""
        if self._segmenter is None:
            self._segmenter = self._process_wide.acquire(self._job.load)
        return self._segmenter


def segment_images(
    job: Job,
    images: Sequence[Image],
    every: Sequence[Image],
    pipeline_args: Sequence[str],
    listener: Listener | None = None,
    command: str = "",
) -> None:
    """Segments images on the workers of a Beam runner, and writes the summary, also when it is interrupted.

    The results are those of `run.segment_images` for the same absolute paths, byte for byte, for any number of workers.

    Args:
      job: what they have in common; `load` and the options travel to the workers.
      images, every, command: as for `run.segment_images`.
      pipeline_args: of Beam; the workers must see the images, the model and the folder at the same paths.
      listener: is told of each image that has ended, in the order in which they end.

    Raises:
      ConfigError: as `run.segment_images`. DataError: the workers do not see the folder, or images were lost.
    """
    identity = begin(job, every)
    do = SegmentImage(on_workers(job), record.text_digest(identity), command)
    try:
        with _Watch(job.folder, images, listener or Listener()) as watch:
            _run(do, [dataclasses.replace(image, path=os.path.abspath(image.path)) for image in images], pipeline_args)
            watch.wait()
    finally:
        summary.write(job.folder, summary.read_records(job.folder, every), identity)


def on_workers(job: Job) -> Job:
    """The job with absolute paths: workers do not start in the folder in which the command was called."""
    options = dict(job.options or {})
    for name in ("weight", "mask"):
        if options.get(name) is not None:
            options[name] = _absolute(options[name])
    truth = None if job.truth is None else _absolute(job.truth)
    return dataclasses.replace(job, folder=job.folder.absolute(), options=options, truth=truth)


def _absolute(path: str | Path) -> str:
    """Of a path that may start with {folder}, which stands for an absolute one."""
    return str(path) if str(path).startswith("{folder}") else os.path.abspath(path)


def _run(do: SegmentImage, images: Sequence[Image], pipeline_args: Sequence[str]) -> None:
    use_in_memory_runner()
    try:
        with (
            quiet_beam(),
            end_with_a_dead_worker(),
            beam.Pipeline(options=PipelineOptions(list(pipeline_args))) as pipeline,
        ):
            (
                pipeline
                | "Images" >> beam.Create(images, reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "Segment" >> beam.ParDo(do)
            )
    except Exception as error:
        ours = unwrap(error)
        if ours is None:
            raise
        raise ours from None


class _Watch:
    """Tells a listener of the images that have ended, by looking at their records while the job runs.

    Args:
      folder: of the results. images: of the job. seconds: between two looks.
    """

    def __init__(self, folder: Path, images: Iterable[Image], listener: Listener, seconds: float = 1.0) -> None:
        self._places = {image.name: record.record_file(folder, image.name) for image in images}
        self._folder, self._listener, self._seconds = folder, listener, seconds
        self._before = {name: record.read(path) for name, path in self._places.items()}
        self._left = list(self._places)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._end()

    def wait(self) -> None:
        """To be called when the job has ended: tells of the rest, and waits for records that cannot be seen yet.

        Raises:
          DataError: an image has no record of this job.
        """
        self._end()
        end = time.monotonic() + PATIENCE
        self._look(last=True)
        while self._left and time.monotonic() < end:
            time.sleep(self._seconds)
            self._look(last=True)
        if self._left:
            raise DataError(
                f"{self._folder}: {len(self._left)} of {len(self._places)} images have no record there, such as"
                f" {self._left[0]}. Give a folder on storage that all workers share; call again for the rest."
            )

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        took = 0.0
        while not self._stop.wait(max(self._seconds, 20 * took)):  # records of many images on slow storage
            start = time.monotonic()
            with contextlib.suppress(OSError):  # the work itself will meet it
                self._look()
            took = time.monotonic() - start

    def _look(self, last: bool = False) -> None:
        """While the job runs, a record that is as before may be of an image whose turn has not come."""
        for name in list(self._left):
            content = record.read(self._places[name])
            if content is None or content["state"] not in ENDED:
                continue
            unchanged = content == self._before[name]
            if last or not unchanged:
                self._left.remove(name)
                number = len(self._places) - len(self._left)
                self._listener.begin(name, number, len(self._places))
                self._listener.end(name, content, unchanged and content["state"] == record.DONE)
