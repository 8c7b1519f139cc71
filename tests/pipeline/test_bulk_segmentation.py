"""Many images as a Beam job: the bytes of a run on one machine for any number of workers, and killed workers."""

import dataclasses
import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from blendinator.errors import DataError, MachineError, ModelError
from blendinator.model import released
from blendinator.model.field.batch import record
from blendinator.model.field.batch.inputs import expand
from blendinator.model.field.batch.run import Formats, Job, Listener, begin, segment_images as on_this_machine
from blendinator.pipeline import bulk_segmentation as bulk
from blendinator.pipeline.cli import main
from blendinator.pipeline.commands.segment import load_model

pytestmark = pytest.mark.skipif(released.card() is None, reason="this checkout ships no released model")

ROOT = Path(__file__).resolve().parents[2]
IN_PROCESS = ("--runner=DirectRunner",)
TIMES = ("seconds", "network_seconds")


def processes(workers):
    return (*IN_PROCESS, "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}")


class Log(Listener):
    def __init__(self):
        self.lines = []

    def end(self, name, content, skipped):
        self.lines.append((name, "skipped" if skipped else content["state"]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return released.unpack(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Three images, one of them with a mask beside it, and a file that is none."""
    folder, rng = tmp_path_factory.mktemp("survey"), np.random.default_rng(3)
    rows, columns = np.mgrid[:64, :96]
    for name in "acd":
        image = rng.normal(0, 26.3, rows.shape)
        for y, x, peak in rng.uniform((0, 0, 200), (64, 96, 2000), (9, 3)):
            image += peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
        fits.writeto(folder / f"{name}.fits", image.astype("f4"), fits.Header({"BUNIT": "electron"}))
        fits.writeto(folder / f"{name}.mask", (rows < 3).astype("u1"))
    (folder / "b.fits").write_text("nonsense")
    return folder


@pytest.fixture
def job(model, survey, tmp_path):
    def make(name="out", load=load_model, **changes):
        values = {"num_samples": 2, "version": "0.1.0", "options": {"box": 32, "mask": "{folder}/{name}.mask"}}
        formats = Formats(".fits", ".ecsv", samples=True)
        return Job(functools.partial(load, model, 1024, None), model, tmp_path / name, formats, **{**values, **changes})

    return make


@pytest.fixture
def images(survey):
    return expand([survey / "*.fits"])


@pytest.fixture(scope="module")
def expected(model, survey, tmp_path_factory):
    """Folder of the results of a run on this machine."""
    folder = tmp_path_factory.mktemp("expected")
    formats, options = Formats(".fits", ".ecsv", samples=True), {"box": 32, "mask": "{folder}/{name}.mask"}
    one = Job(
        functools.partial(load_model, model, 1024, None), model, folder, formats, 2, options=options, version="0.1.0"
    )
    on_this_machine(one, expand([survey / "*.fits"]))
    return folder


def content(folder):
    """{name: content} of the results, without the times in maps, records and summary.

    What a worker was writing when it was killed stays as a hidden file, which no result is taken from.
    """
    found = {}
    for path in folder.glob("[!.]*"):
        if path.name.endswith(".record.json"):
            found[path.name] = {k: v for k, v in json.loads(path.read_text()).items() if k not in TIMES}
        elif path.name == "summary.ecsv":
            table = Table.read(path)
            table.remove_column("seconds")
            found[path.name] = (table.meta, list(map(str, table.filled(""))))
        elif path.name.endswith(".fits"):
            found[path.name] = re.sub(rb"(DATE    |CHECKSUM)= .{70}", b"", path.read_bytes())
        else:
            found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize("pipeline_args", [IN_PROCESS, *map(processes, (1, 2, 8))])
def test_the_bytes_of_a_run_on_one_machine(job, images, expected, tmp_path, pipeline_args):
    log = Log()
    bulk.segment_images(job(), images, images, pipeline_args, log)
    assert content(tmp_path / "out") == content(expected)
    assert sorted(log.lines) == [("a", "done"), ("b", "failed"), ("c", "done"), ("d", "done")]


DIES_ONCE = """
import os, signal
from pathlib import Path

from blendinator.model.field.batch import record
from blendinator.pipeline.commands.segment import load_model

write = record.write


def load(place, model, *given):
    def die_once(path, content):
        if content["state"] == record.DONE and not Path(place).exists():
            Path(place).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, content)

    record.write = die_once
    return load_model(model, *given)
"""


def test_a_killed_worker_loses_nothing(job, images, expected, tmp_path, monkeypatch):
    """Killed after the first image's maps got their name and before its record did."""
    (tmp_path / "dies_once.py").write_text(DIES_ONCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT)}")
    import dies_once

    load = functools.partial(dies_once.load, str(tmp_path / "died"))
    with pytest.raises(MachineError, match="a worker process was killed.*code 137.*call again"):
        bulk.segment_images(job(load=load), images, images, processes(2))
    states = list(Table.read(tmp_path / "out" / "summary.ecsv")["state"])
    assert (tmp_path / "died").exists() and "running" in states
    log = Log()
    bulk.segment_images(job(), images, images, IN_PROCESS, log)
    assert content(tmp_path / "out") == content(expected)
    assert {name for name, how in log.lines if how == "skipped"} == {
        name for name, state in zip("abcd", states) if state == "done"
    }


@pytest.fixture
def do(job, images, tmp_path):
    """The step, as a worker has it, of a job whose folder is made; `load` is called for each model."""

    def make(load=load_model, **changes):
        one = job(load=load, **changes)
        step = bulk.SegmentImage(bulk.on_workers(one), record.text_digest(begin(one, images)), "")
        step.setup()
        return step

    return make


def state(folder, name):
    return json.loads((folder / f"{name}.record.json").read_text())["state"]


def test_an_image_that_is_given_again(do, images, expected, tmp_path):
    """After the work, and after an end by force before the record: the model is loaded once, and the bytes stay."""
    loads = []

    def load(*given):
        loads.append(1)
        return load_model(*given)

    step, place = do(load), tmp_path / "out" / "a.record.json"
    assert list(step.process(images[0])) == [] and loads == [1]
    once, time = content(tmp_path / "out"), (tmp_path / "out" / "a.maps.fits").stat().st_mtime_ns
    list(step.process(images[0]))
    assert (tmp_path / "out" / "a.maps.fits").stat().st_mtime_ns == time  # it was skipped
    record.write(place, {**record.read(place), "state": record.RUNNING})
    list(step.process(images[0]))
    assert (tmp_path / "out" / "a.maps.fits").stat().st_mtime_ns > time and loads == [1]
    assert content(tmp_path / "out") == once
    assert once["a.objects.ecsv"] == content(expected)["a.objects.ecsv"]


def test_a_model_that_a_worker_does_not_see(do, images, tmp_path):
    def load(model, *_):
        raise ModelError(f"{model}: this folder does not exist")

    list(do(load).process(images[0]))
    assert state(tmp_path / "out", "a") == "failed"
    list(do().process(images[0]))
    assert state(tmp_path / "out", "a") == "done"


def test_a_folder_that_a_worker_does_not_see(do, tmp_path):
    step = do()
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(DataError, match="out: a worker does not see this folder.*storage that all workers share"):
        step.setup()


def test_an_error_of_a_worker_comes_through_beam(job, images, tmp_path, monkeypatch):
    def setup(_):
        raise DataError("out: a worker does not see this folder")

    monkeypatch.setattr(bulk.SegmentImage, "setup", setup)
    with pytest.raises(DataError, match="^out: a worker does not see this folder$"):
        bulk.segment_images(job(), images, images, IN_PROCESS)
    assert (tmp_path / "out" / "summary.ecsv").exists()


def test_images_without_a_record(job, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk.SegmentImage, "process", lambda step, image: ())
    monkeypatch.setattr(bulk, "PATIENCE", 0.0)
    with pytest.raises(DataError, match="4 of 4 images have no record there, such as a. Give a folder on storage"):
        bulk.segment_images(job(), images, images, IN_PROCESS)


def test_relative_paths_become_absolute_ones(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"mask": "{folder}/{name}.mask", "weight": Path("maps/{name}.fits[1]"), "box": 32}
    found = bulk.on_workers(dataclasses.replace(job(options=options, truth="t.ecsv"), folder=Path("out")))
    assert found.options == {**options, "weight": f"{tmp_path}/maps/{{name}}.fits[1]"}
    assert found.truth == f"{tmp_path}/t.ecsv" and found.folder == tmp_path / "out"


def test_the_command(model, survey, tmp_path):
    (tmp_path / "beam.yaml").write_text("beam: {pipeline_args: [--runner=DirectRunner]}\n")
    arguments = ["segment", f"{survey}/?.fits", "--output-dir", tmp_path / "out", "--config", tmp_path / "beam.yaml"]
    arguments += ["--model", model, "--trust-model", "--samples", 2, "--background-box", 32, "--no-maps"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 1 and "1 of 4 images failed; the summary says why" in result.output, result.output
    assert len(re.findall(r"^[1-4]/4 [acd]: \d+ objects, \d+ blends in ", result.output, re.M)) == 3
    assert "/4 b: failed: " in result.output and "summary.ecsv: 3 done, 1 failed" in result.output
    assert "4/4 d: unchanged, skipped" in CliRunner().invoke(main, list(map(str, arguments))).output
