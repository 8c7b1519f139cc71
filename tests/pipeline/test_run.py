"""What a user can fix becomes one message; everything else stays a defect."""

import dataclasses
import errno
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import tensorflow as tf
from rich.console import Console

from blendinator.config import Config, ServingConfig, SimulationConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import spans
from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.pipeline import run

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def config(tmp_path):
    simulation = SimulationConfig(stamp_size=32, train_scenes=100, calibration_scenes=50, test_scenes=50)
    return dataclasses.replace(Config(), output_dir=str(tmp_path / "output"), simulation=simulation)


def make_span(config, span, **simulation):
    folder = spans.span_dir(config.data_root, span)
    folder.mkdir(parents=True)
    settings = config_to_dict(dataclasses.replace(config.simulation, **simulation))
    (folder / spans.MANIFEST).write_text(
        json.dumps(
            {
                "complete": True,
                "format_version": spans.FORMAT_VERSION,
                "simulation": settings,
                "files": {},
                "splits": {},
            }
        )
    )


def test_our_errors_explain_themselves():
    error = DataError("a.tfrecord: record 3 is bad")
    assert str(run.explain(error)) == "a.tfrecord: record 3 is bad"


def test_errors_are_found_behind_those_they_caused_and_lose_the_name_of_beams_step():
    try:
        try:
            raise ModelError("the export is damaged [while running 'Score/ParDo']")
        except ModelError as cause:
            raise RuntimeError("Component failed") from cause
    except RuntimeError as error:
        found = run.explain(error)
    assert isinstance(found, ModelError) and str(found) == "the export is damaged"


def test_full_disk_is_explained():
    # /dev/full is the kernel's own full disk: the error is the real one.
    with pytest.raises(OSError) as raised, open("/dev/full", "w") as file:
        file.write("x")
    assert raised.value.errno == errno.ENOSPC
    assert "output_dir: this cannot be written (No space left on device). The disk is full: free some space" in str(
        run.explain(raised.value)
    )


@pytest.mark.parametrize("text", ["RESOURCE_EXHAUSTED: x/y; No space left on device", "database or disk is full"])
def test_full_disk_is_explained_when_a_library_says_it_in_its_own_words(text):
    assert "The disk is full: free some space" in str(run.explain(RuntimeError(text)))


@pytest.mark.parametrize(
    "code, reason",
    [(errno.EACCES, "Permission denied"), (errno.ENOTDIR, "Not a directory"), (errno.EROFS, "Read-only file system")],
)
def test_folder_that_cannot_be_written_is_named(code, reason):
    message = str(run.explain(OSError(code, reason, "/x/y")))
    assert message.startswith(f"/x/y: this cannot be written ({reason}). Check the folder's permissions")


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError(), "The memory does not suffice .no text.. Reduce training.batch_size"),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore"),
            "The memory does not suffice .OOM when allocating tensor.. Reduce",
        ),
        (
            tf.errors.DataLossError(None, None, "corrupted record at 12"),
            "damaged .corrupted record at 12.. Run .* --no-cache",
        ),
        (
            RuntimeError("attempt to write a readonly database"),
            "readonly database: output_dir cannot be written. Check",
        ),
    ],
)
def test_faults_that_libraries_report_are_explained(error, message):
    found = run.explain(error)
    assert isinstance(found, DataError) and re.search(message, str(found))


def test_interruption_is_explained():
    assert "Run again to go on" in str(run.explain(KeyboardInterrupt()))


def test_defects_are_not_explained():
    assert run.explain(ValueError("shapes differ")) is None


def test_too_little_space_stops_before_anything_is_written(config, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**8))
    with pytest.raises(DataError, match="the disk has 0.1 GB left and a run may need 0.5 GB. Free some space"):
        run.check_space(config)
    assert list(Path(config.output_dir).iterdir()) == []


def test_space_for_the_simulation_counts_only_when_it_is_to_be_simulated(config, monkeypatch):
    config = dataclasses.replace(config, simulation=dataclasses.replace(config.simulation, train_scenes=10**6))
    size = 1_000_100 * 32 * 32 * spans.BYTES_PER_PIXEL
    mapped = 1_000_050 * 32 * 32 * spans.MAPPED_BYTES_PER_PIXEL
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, run.WORKING_SPACE + mapped + 1.5 * size))
    with pytest.raises(DataError, match="Free some space"):
        run.check_space(config)
    make_span(config, 1)
    run.check_space(config)


@pytest.mark.parametrize(
    ("spans", "there", "used"), [("latest", 3, 1), ("latest:3", 2, 2), ("latest:2", 3, 2), ("2-4", 3, 3)]
)
def test_space_counts_each_span_that_is_used(config, spans, there, used):
    for span in range(1, there + 1):
        make_span(config, span)
    one = run.needed_space(config, "latest") - run.WORKING_SPACE
    assert run.needed_space(config, spans) - run.WORKING_SPACE == used * one > 0


def test_data_are_simulated_only_when_there_are_none(config, monkeypatch):
    simulated = []
    monkeypatch.setattr(run, "simulate", lambda config, span, console: simulated.append(span))
    run.simulate_if_missing(config, "3", Console())
    assert simulated == []
    run.simulate_if_missing(config, "latest", Console())
    assert simulated == [1]
    make_span(config, 2)
    run.simulate_if_missing(config, "latest", Console())
    assert simulated == [1]


def test_a_missing_triton_stops_the_run_before_the_training(config, tmp_path):
    make_span(config, 1)
    serving = ServingConfig(infra_check="triton", triton_python=str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="serving.triton_python: received .* Install Triton"):
        run.run_pipeline(dataclasses.replace(config, serving=serving), "latest", Console(quiet=True), {})
    assert not config.pipeline_root.exists()


def test_a_users_own_span_has_no_other_settings(config, caplog):
    make_span(config, 1)
    path = spans.span_dir(config.data_root, 1) / spans.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["simulation"]
    path.write_text(json.dumps(manifest))
    run.warn_of_other_settings(config, (1,))
    assert caplog.text == ""


def test_span_of_other_settings_is_pointed_out(config, caplog):
    make_span(config, 1)
    make_span(config, 2, noise_scale=2.0, seed=7)
    run.warn_of_other_settings(config, (1,))
    assert caplog.text == ""
    run.warn_of_other_settings(config, (1, 2))
    assert "span 2 was simulated with other settings" in caplog.text
    assert "simulation.noise_scale, simulation.seed. It is used as it is." in caplog.text


@pytest.mark.parametrize("pushes", [False, True])
def test_what_was_pushed_is_told_when_the_run_stops_later(config, capfd, pushes):
    def body(console, entry):
        if pushes:
            version = Path(config.serving_dir) / "17"
            version.mkdir(parents=True)
            (version / "saved_model.pb").touch()
        raise DataError("the report cannot be written")

    entry = run.perform(config, "run", body)
    shown = capfd.readouterr().out
    assert entry["status"] == "failed" and "the report cannot be written" in shown
    assert ("Nothing was pushed." in shown) is not pushes
    assert ("Version 17 had been pushed before" in shown) is pushes
    assert entry["version"] == (str(Path(config.serving_dir) / "17") if pushes else None)
