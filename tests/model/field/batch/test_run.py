"""Many images: what is done is skipped, failures do not stop the rest, and a killed run goes on."""

import json
import os
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from blendinator.config import Config
from blendinator.errors import ConfigError
from blendinator.model.field.batch import record, summary
from blendinator.model.field.batch.inputs import expand
from blendinator.model.field.batch.run import Formats, Job, Listener, segment_images
from blendinator.pipeline.cli import main

OPTIONS = {"box": 32}


class Log(Listener):
    def __init__(self):
        self.lines = []

    def end(self, name, content, skipped):
        self.lines.append((name, "skipped" if skipped else content["state"]))


@pytest.fixture
def images(tmp_path, image, wcs_header):
    """Two good images and one that is not a FITS file."""
    header = wcs_header.copy()
    header["BUNIT"] = "electron"
    folder = tmp_path / "survey"
    folder.mkdir()
    fits.writeto(folder / "a.fits", image, header)
    fits.writeto(folder / "c.fits", image[::-1].copy(), header)
    (folder / "b.fits").write_text("nonsense")
    return folder


@pytest.fixture
def segment(segmenter, pushed, images, tmp_path):
    """Runs the job; what the listener heard, and how often a model was loaded."""

    def call(every=None, part=None, **changes):
        loads, log = [], Log()

        def load():
            loads.append(1)
            return segmenter

        values = {"num_samples": 2, "options": OPTIONS, "version": "0.1.0", **changes}
        job = Job(load, pushed / "1700000000", tmp_path / "out", **values)
        found = expand([str(images / "*.fits")]) if every is None else every
        segment_images(job, part(found) if part else found, found, log)
        return log.lines, len(loads)

    return call


def test_a_failure_does_not_stop_the_rest(segment, tmp_path):
    lines, loads = segment()
    assert lines == [("a", "done"), ("b", "failed"), ("c", "done")] and loads == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("a.maps.fits", "a.objects.ecsv", "a.record.json", "b.record.json"),
        *("c.maps.fits", "c.objects.ecsv", "c.record.json", "run.json", "summary.ecsv"),
    }
    table = Table.read(tmp_path / "out" / "summary.ecsv")
    assert list(table["name"]) == ["a", "b", "c"] and list(table["state"]) == ["done", "failed", "done"]
    assert "b.fits: this is not a FITS file" in table["error"][1]
    assert table["objects"][0] == np.sum(Table.read(tmp_path / "out" / "a.objects.ecsv")["kind"] == "object")
    assert table["pixels"][0] == 61 * 83 and table["pixel_scale"][0] == pytest.approx(0.1)
    assert 0.5 < table["noise_ratio"][0] < 2 and table.meta["states"] == {"done": 2, "failed": 1}


def test_what_is_unchanged_is_skipped_without_a_model(segment, images, tmp_path):
    segment()
    before = (tmp_path / "out" / "a.maps.fits").stat().st_mtime_ns
    (images / "b.fits").write_bytes((images / "a.fits").read_bytes())
    assert segment() == ([("a", "skipped"), ("b", "done"), ("c", "skipped")], 1)
    assert segment() == ([("a", "skipped"), ("b", "skipped"), ("c", "skipped")], 0)
    assert (tmp_path / "out" / "a.maps.fits").stat().st_mtime_ns == before


def test_a_changed_image_and_a_lost_result_are_done_again(segment, images, tmp_path):
    segment()
    with fits.open(images / "a.fits", mode="update") as file:
        file[0].data[0, 0] += 1
    (tmp_path / "out" / "c.objects.ecsv").unlink()
    assert segment()[0] == [("a", "done"), ("b", "failed"), ("c", "done")]


def test_a_killed_run_goes_on(segment, images, tmp_path, monkeypatch):
    """Killed after the maps got their name and before the record did."""
    write = record.write

    def killed(path, content):
        if content["state"] == record.DONE:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(record, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        segment()
    monkeypatch.undo()
    assert (tmp_path / "out" / "a.maps.fits").exists()
    assert list(Table.read(tmp_path / "out" / "summary.ecsv")["state"]) == ["running", "pending", "pending"]
    assert segment()[0] == [("a", "done"), ("b", "failed"), ("c", "done")]


def test_a_killed_runs_temporary_files_go_when_they_are_old(segment, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    names = [".a.maps.fits.0123456789ab.part", ".a.maps.fits.0123456789ac.part", ".mine.part"]
    for name, age in zip(names, (7200, 60, 7200)):
        (out / name).write_text("")
        os.utime(out / name, (time.time() - age,) * 2)
    segment()
    assert {path.name for path in out.glob(".*.part")} == {names[1], names[2]}  # a live process's, and the user's


def test_a_defect_in_one_image_is_recorded(segment, images, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("blendinator.model.field.run.columns.to_table", broken)
    segment()
    content = json.loads((tmp_path / "out" / "a.record.json").read_text())
    assert content["state"] == "failed" and content["error"] == "ZeroDivisionError: a defect"
    assert "Traceback" in content["traceback"] and not (tmp_path / "out" / "a.maps.fits").exists()


def test_the_shards_together_do_all(segment, tmp_path):
    segment(part=lambda found: found[::2])
    assert list(Table.read(tmp_path / "out" / "summary.ecsv")["state"]) == ["done", "pending", "done"]
    segment(part=lambda found: found[1::2])
    assert list(Table.read(tmp_path / "out" / "summary.ecsv")["state"]) == ["done", "failed", "done"]


def test_another_runs_folder_is_refused(segment, tmp_path):
    segment()
    with pytest.raises(ConfigError, match=r"results of another run \(options num_samples: 2 there, 3 here\)"):
        segment(num_samples=3)
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="its run.json is of another release"):
        segment()
    assert segment(num_samples=3, overwrite=True)[0] == [("a", "done"), ("b", "failed"), ("c", "done")]


def test_files_that_no_run_recorded_stay(segment, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.maps.fits").write_text("precious")
    with pytest.raises(ConfigError, match="c.maps.fits: this exists already"):
        segment()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"c.maps.fits"}
    segment(overwrite=True)
    assert (tmp_path / "out" / "c.maps.fits").read_bytes() != b"precious"


def test_the_output_folder_is_a_file(segment, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="out: this is not a folder"):
        segment()


def test_maps_beside_each_image(segment, images, tmp_path, image):
    for name in ("a", "c"):
        mask = np.zeros_like(image, np.uint8)
        mask[: 5 if name == "a" else 10] = 1
        fits.writeto(images / f"{name}_mask.fts", mask)
    segment(options={**OPTIONS, "mask": "{folder}/{name}_mask.fts"}, formats=Formats(maps=None))
    table = Table.read(tmp_path / "out" / "summary.ecsv")
    np.testing.assert_allclose(table["missing"][[0, 2]], [5 / 61, 10 / 61], atol=1e-3)
    assert not list((tmp_path / "out").glob("*.maps.fits"))
    (images / "a_mask.fts").unlink()
    assert segment(
        options={**OPTIONS, "mask": "{folder}/{name}_mask.fts"}, formats=Formats(maps=None)
    )[0] == [("a", "failed"), ("b", "failed"), ("c", "skipped")]  # fmt: skip


def test_images_of_more_than_one_survey():
    records = [
        {"name": name, "pixel_scale": scale} for name, scale in (("a", 0.1), ("b", 0.2), ("c", 0.101), ("d", None))
    ]
    assert summary.mixed(records).startswith(
        'images of more than one survey: a pixel is 0.1" in 2 images (a, ...), 0.2" in 1 image (b). A model holds for'
    )
    assert summary.mixed(records[::2]) is None and summary.mixed([]) is None


@pytest.fixture
def command(pushed, monkeypatch, tmp_path):
    monkeypatch.setattr(Config, "serving_dir", property(lambda config: pushed))
    monkeypatch.setattr("sys.argv", ["blendinator", "segment", "IMAGES", "--samples", "2"])
    common = ["--samples", "2", "--background-box", "32", "--output-dir", str(tmp_path / "out")]
    return lambda *arguments: CliRunner().invoke(main, ["segment", *common, *map(str, arguments)])


def test_the_command(command, images, tmp_path):
    (tmp_path / "list.txt").write_text(f"{images}/a.fits\n{images}/c.fits\n")
    result = command(f"@{tmp_path}/list.txt", "--output", ".fits.gz", "--catalog", ".fits", "--shard", "2/2")
    assert result.exit_code == 0, result.output
    assert "1/1 c: " in result.output and "summary.ecsv: 1 done, 1 pending" in result.output
    assert (tmp_path / "out" / "c.maps.fits.gz").exists() and (tmp_path / "out" / "c.objects.fits").exists()
    assert f"segment {images}/c.fits" in "".join(fits.getheader(tmp_path / "out" / "c.maps.fits.gz")["HISTORY"])
    result = command(f"@{tmp_path}/list.txt", "--output", ".fits.gz", "--catalog", ".fits")
    assert "1/2 a: " in result.output and "2/2 c: unchanged, skipped" in result.output


def test_the_exit_code_after_a_failure(command, images):
    result = command(images / "*.fits", "--no-maps")
    assert result.exit_code == 1 and "1 of 3 images failed; the summary says why" in result.output
    assert "2/3 b: failed: " in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".vot", ".parquet"])
@pytest.mark.filterwarnings("ignore")
def test_overlapping_images_in_one_catalogue(command, tmp_path, image, wcs_header, ending):
    """Two copies of one field, cut so that they share 40 columns."""
    header = wcs_header.copy()
    header["BUNIT"] = "electron"
    (tmp_path / "tiles").mkdir()
    for name, left in (("left", 0), ("right", 21)):
        part = header.copy()
        part["CRPIX1"] -= left
        fits.writeto(tmp_path / "tiles" / f"{name}.fits", image[:, left : left + 62], part)
    options = ("--min-pixels", 1, "--no-maps", "--merge", "--catalog", ending)
    result = command(tmp_path / "tiles" / "*.fits", *options)
    assert result.exit_code == 0, result.output
    table = Table.read(tmp_path / "out" / f"catalog{ending}")
    parts = [Table.read(tmp_path / "out" / f"{name}.objects{ending}") for name in ("left", "right")]
    assert 0 < len(table) < sum(map(len, parts)) and f"catalog{ending}" in result.output
    assert list(table["id"]) == list(range(1, len(table) + 1)) and set(table["tile"]) <= {"left", "right"}
    assert str(table["area"].unit) == str(parts[0]["area"].unit) == "pix"
    assert command(tmp_path / "tiles" / "*.fits", *options).exit_code == 0  # again: it is the run's own


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["a.fits", "--catalog", "out.ecsv"], 1, "--catalog: received out.ecsv; allowed with --output-dir: an ending"),
        (["a.fits", "--catalog", ".doc"], 1, "--catalog: received .*a.objects.doc, whose ending names no format"),
        (["a.fits", "--shard", "3/2"], 1, "shard: received '3/2'; allowed: I/N"),
        (["a.fits", "--merge", "--shard", "1/2"], 2, "--merge is for all images: leave --shard out"),
        (["a.fits", "--no-maps", "--output", ".fits"], 2, "--no-maps allows neither --output nor --write-samples"),
    ],
)
def test_mistakes(command, tmp_path, arguments, code, message):
    result = command(*arguments)
    assert result.exit_code == code and __import__("re").search(message, result.output), result.output
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.fits", "b.fits", "--output", "m.fits"], "many images need --output-dir"),
        (["a.fits"], "give --output FILE for one image, or --output-dir DIR for many"),
        (["a.fits", "--no-maps"], "--no-maps needs --catalog"),
        (["a.fits", "--output", "m.fits", "--shard", "1/2"], "--shard needs --output-dir"),
        (["a.fits", "--output", "m.fits", "--merge"], "--merge needs --output-dir"),
    ],
)
def test_mistakes_with_one_image(arguments, message):
    result = CliRunner().invoke(main, ["segment", *arguments])
    assert result.exit_code == 2 and message in result.output
