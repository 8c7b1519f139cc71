"""`blendinator segment` from file to files: what comes out, and what is left when something is wrong."""

import errno
import gzip
import io
import os
import threading

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from blendinator.config import Config
from blendinator.errors import DataError
from blendinator.model.field import run as runs, spool
from blendinator.model.field.preview import Previewer, layout
from blendinator.pipeline.cli import main

PNG = b"\x89PNG"


@pytest.fixture
def command(pushed, tmp_path, monkeypatch):
    """Runs the command in the test's folder; the result, with exit code and output."""
    monkeypatch.setattr(Config, "serving_dir", property(lambda config: pushed))

    def call(*arguments, output="maps.fits", samples=3):
        return CliRunner().invoke(
            main,
            [
                "segment",
                "--output",
                str(tmp_path / output),
                "--samples",
                str(samples),
                "--background-box",
                "32",
                *map(str, arguments),
            ],
        )

    return call


def test_everything_that_can_be_written(command, field_file, tmp_path, segmenter, image):
    Table({"x": [20.0, 60.0], "y": [30.0, 40.0], "magnitude": [22.0, 23.0]}).write(tmp_path / "truth.csv")
    result = command(
        field_file,
        "--catalog",
        tmp_path / "c.ecsv",
        "--preview",
        tmp_path / "p.png",
        "--write-samples",
        "--no-background",
        "--truth",
        tmp_path / "truth.csv",
        "--min-pixels",
        1,
    )
    assert result.exit_code == 0, result.output
    assert "Mpx/s" in result.output and "% of the time in the network" in result.output
    assert "2 true galaxies" in result.output
    expected = segmenter.sample(image, 3, seed=1)  # the same as in memory, with tiles of another size
    with fits.open(tmp_path / "maps.fits", checksum=True) as file:
        np.testing.assert_allclose(file["P_BLENDED"].data, expected.probabilities[..., 2], atol=1e-5)
        assert np.mean(file["SAMPLES"].data != expected.samples) < 1e-4
        header = file[0].header
        assert (header["MODEL"], header["MODELKEY"], header["SEED"], header["NSAMPLES"]) == ("1700000000", "abc", 1, 3)
        assert header["EPERUNIT"] == 1.0 and header["TRAINSIG"] == pytest.approx(26.3, abs=0.1)
        history = "".join(header["HISTORY"])
        for text in ("blendinator", "background: not subtracted", "electrons: unit electron"):
            assert text in history
    table = Table.read(tmp_path / "c.ecsv")
    assert {"area_lo68", "area_hi95", "p_blend", "flux", "snr", "flags", "ra"} <= set(table.colnames)
    assert table.meta["MODEL"] == "1700000000" and table.meta["truth"]["galaxies"] == 2
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)
    assert {path.name for path in tmp_path.iterdir()} == {"field.fits", "truth.csv", "maps.fits", "c.ecsv", "p.png"}


def test_pixels_without_data_and_samples_left_out(command, tmp_path, image):
    holed = image.copy()
    holed[10:20, 30:50] = np.nan
    fits.writeto(tmp_path / "f.fits", holed, fits.Header({"BUNIT": "electron"}))
    result = command(tmp_path / "f.fits")
    assert result.exit_code == 0 and "no data in 3.95% of the pixels" in result.output
    with fits.open(tmp_path / "maps.fits") as file:
        assert [hdu.name for hdu in file] == ["PRIMARY", "CLASS", "P_GALAXY", "P_BLENDED", "ENTROPY", "MUTUAL_INFO"]
        np.testing.assert_array_equal(file["CLASS"].data == 255, np.isnan(holed))
        np.testing.assert_array_equal(np.isnan(file["ENTROPY"].data), np.isnan(holed))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--hdu", "5"], "there is no HDU 5"),
        (["--truth", "t.csv"], "--truth: it is compared with a catalogue. Give --catalog as well"),
        (["--catalog", "FOLDER/c.ecsv", "--truth", "t.csv"], "t.csv: the table cannot be read"),
        (["--preview", "FOLDER/nowhere/p.png"], "the folder .*nowhere does not exist"),
        (
            ["--model", "FOLDER"],
            "which is not in the serving folder .* give --trust-model if you know where it comes from",
        ),
        (["--weight", "FOLDER/no.fits"], "no.fits: this file does not exist. Check the path."),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(command, field_file, tmp_path, options, message):
    result = command(field_file, *(option.replace("FOLDER", str(tmp_path)) for option in options))
    messages = [line for line in result.output.strip().splitlines() if not line.startswith("model: version")]
    assert result.exit_code == 1 and len(messages) == 1
    assert __import__("re").search(message, result.output), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["field.fits"]


@pytest.mark.parametrize(
    "options",
    [
        ["--output", "FOLDER/field.fits", "--overwrite"],
        ["--catalog", "FOLDER/maps.fits"],
        ["--catalog", "FOLDER/c.ecsv", "--preview", "FOLDER/../NAME/c.ecsv"],
        ["--mask", "FOLDER/field.fits", "--catalog", "FOLDER/field.fits", "--overwrite"],
    ],
)
def test_an_output_that_is_an_input_or_another_output_is_refused(command, field_file, tmp_path, options):
    before = field_file.read_bytes()
    result = command(
        field_file, *(option.replace("FOLDER", str(tmp_path)).replace("NAME", tmp_path.name) for option in options)
    )
    assert result.exit_code == 1 and "this is an input, or another output, as well" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["field.fits"] and field_file.read_bytes() == before


def test_existing_output_is_refused_before_any_work(command, field_file, tmp_path):
    (tmp_path / "maps.fits").write_text("precious")
    result = command(field_file)
    assert result.exit_code == 1 and "maps.fits: this exists already" in result.output
    assert (tmp_path / "maps.fits").read_text() == "precious"


def test_an_error_halfway_leaves_no_output(segmenter, field_file, tmp_path, monkeypatch):
    def broken(self, top, maps):
        raise RuntimeError("halfway")

    monkeypatch.setattr(Previewer, "write", broken)
    outputs = runs.Outputs(tmp_path / "maps.fits", preview=tmp_path / "p.png")
    with pytest.raises(RuntimeError, match="halfway"):
        runs.run(segmenter, field_file, outputs, num_samples=2, box=32)
    assert [path.name for path in tmp_path.iterdir()] == ["field.fits"]


def test_warnings_are_shown_and_kept(command, tmp_path, image):
    fits.writeto(tmp_path / "f.fits", image * 2, fits.Header({"BUNIT": "electron"}))
    result = command(tmp_path / "f.fits")
    assert "warning: the sky noise is" in result.output
    assert "warning: the sky noise is" in "".join(fits.getheader(tmp_path / "maps.fits")["HISTORY"])


def test_a_picture_that_fails_leaves_no_maps(segmenter, field_file, tmp_path, monkeypatch):
    def broken(self, *_):
        raise ValueError("no picture")

    monkeypatch.setattr(Previewer, "save", broken)
    (tmp_path / "maps.fits").write_text("of yesterday")
    outputs = runs.Outputs(tmp_path / "maps.fits", tmp_path / "c.ecsv", tmp_path / "p.png", overwrite=True)
    with pytest.raises(ValueError, match="no picture"):
        runs.run(segmenter, field_file, outputs, num_samples=2, box=32)
    assert {path.name for path in tmp_path.iterdir()} == {"field.fits", "maps.fits"}
    assert (tmp_path / "maps.fits").read_text() == "of yesterday"


@pytest.mark.parametrize("name", ["$_1$.fits", "a[1].fits", "b*?.fits", "[bold].fits", b"caf\xe9.fits"])
def test_names_are_taken_literally(command, field_file, tmp_path, name):
    field = tmp_path / os.fsdecode(name)
    field_file.rename(field)
    stem = os.fsdecode(name).removesuffix(".fits")
    result = command(
        field, "--catalog", tmp_path / f"{stem}.ecsv", "--preview", tmp_path / f"{stem}.png", output=f"m{stem}.fits"
    )
    assert result.exit_code == 0, result.output
    names = {os.fsencode(path.name) for path in tmp_path.iterdir()}
    assert names == {os.fsencode(one) for one in (field.name, f"{stem}.ecsv", f"{stem}.png", f"m{stem}.fits")}


def test_input_from_a_pipe(command, field_file, tmp_path, image):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(field_file.read_bytes()))
    writer.start()
    result = command(tmp_path / "pipe", "--preview", tmp_path / "p.png")
    writer.join()
    assert result.exit_code == 0, result.output
    history = "".join(fits.getheader(tmp_path / "maps.fits")["HISTORY"])
    assert f"field: {tmp_path / 'pipe'}[1]" in history and "blendinator-" not in history


def test_input_from_standard_input(segmenter, field_file, tmp_path, monkeypatch):
    packed = gzip.compress(field_file.read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed)))
    runs.run(segmenter, "-", runs.Outputs(tmp_path / "maps.fits"), num_samples=2, box=32)
    assert "field: standard input[1]" in "".join(fits.getheader(tmp_path / "maps.fits")["HISTORY"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nonsense")))
    with pytest.raises(DataError, match="^standard input: this is not a FITS file"):
        runs.run(segmenter, "-", runs.Outputs(tmp_path / "m.fits"), num_samples=2, box=32)
    with pytest.raises(DataError, match="standard input: this can be read only once, and two inputs name it"):
        runs.run(segmenter, "-", runs.Outputs(tmp_path / "m.fits"), num_samples=2, box=32, mask="-")


def test_a_pipe_without_room_for_its_copy(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    monkeypatch.setattr(spool.shutil, "copyfileobj", full)
    with (
        pytest.raises(DataError, match="standard input: its unpacked copy has no room in .*TMPDIR"),
        spool.Spool() as copies,
    ):
        copies.readable("-")


@pytest.mark.parametrize(
    "shape, columns, stretched",
    [((100, 100), 2, False), ((960, 96), 4, False), ((96, 960), 1, False), ((4000, 10), 4, True), ((1, 999), 1, True)],
)
def test_preview_has_room_for_any_shape(shape, columns, stretched, tmp_path):
    """No panel covers another, the legend or the title, and none is a line."""
    (width, height), boxes, found = layout(*shape)
    assert found == stretched and len({left for left, *_ in boxes}) == columns and width < 13 and height < 50
    for i, (left, bottom, wide, high) in enumerate(boxes):
        assert min(wide, high) >= 0.5 and left >= 0 and left + wide <= width and 0.9 <= bottom < bottom + high < height
        if not stretched:
            assert high / wide == pytest.approx(shape[0] / shape[1])
        for other_left, other_bottom, *_ in boxes[i + 1 :]:
            assert other_left >= left + wide or other_bottom + high <= bottom


def test_preview_averages_blocks(tmp_path, monkeypatch):
    """A field of 5 x 4 pixels in blocks of 2; pixels without data don't count."""
    from blendinator.model.field import preview

    monkeypatch.setattr(preview, "PANEL", 3)
    previewer = Previewer((5, 4))
    image = np.arange(20, dtype=np.float32).reshape(5, 4)
    image[0, 0] = np.nan
    maps = {
        "image": image,
        "probabilities": np.full((5, 4, 3), 1 / 3, np.float32),
        "entropy": np.ones((5, 4), np.float32),
        "class_map": np.where(np.isnan(image), 255, 0).astype(np.uint8),
    }
    for top, bottom in ((0, 3), (3, 5)):
        previewer.write(top, {name: value[top:bottom] for name, value in maps.items()})
    mean = previewer._sums["image"] / previewer._sums["valid"]
    np.testing.assert_allclose(mean, [[10 / 3, 4.5], [10.5, 12.5], [16.5, 18.5]])
    previewer.save(tmp_path / "p.png", 1.0, "title")
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)


def test_a_gzipped_field_without_room_for_its_copy(command, field_file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "f.fits.gz").write_bytes(gzip.compress(field_file.read_bytes()))
    monkeypatch.setattr("shutil.copyfileobj", full)
    result = command(tmp_path / "f.fits.gz")
    assert "f.fits.gz: its unpacked copy has no room in" in result.output and "not a FITS file" not in result.output
