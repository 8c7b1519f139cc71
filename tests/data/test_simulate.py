"""The simulation of a span: same bytes always, restarts, refusals."""

import dataclasses
import errno
import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blendinator.config import SimulationConfig
from blendinator.data import shards, simulate, spans
from blendinator.data.records import check, decode
from blendinator.data.scene import Simulator
from blendinator.data.tfrecords import read_records
from blendinator.errors import DataError
from blendinator.lock import BusyError

CONFIG = SimulationConfig(
    train_scenes=7,
    calibration_scenes=3,
    test_scenes=4,
    scenes_per_shard=4,
    stamp_size=32,
    train_populations={"boosted": 0.8, "natural": 0.2},
    calibration_populations={"boosted": 0.5, "natural": 0.5},
    test_populations={"boosted": 0.5, "natural": 0.5},
)


@pytest.fixture(scope="module")
def span(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    calls = []
    manifest = simulate.simulate_span(CONFIG, root, 1, workers=1, progress=lambda *call: calls.append(call))
    return root, manifest, calls


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_span_is_complete_and_keeps_the_contract(span):
    root, manifest, calls = span
    folder = spans.span_dir(root, 1)
    assert spans.verify_span(folder) == manifest
    names = ["train-00000-of-00002", "train-00001-of-00002", "calibration-00000-of-00001", "test-00000-of-00001"]
    assert [f"{name}.tfrecord.gz" for name in names] == [shard.name for shard in shards.shards(CONFIG)]
    assert set(contents(folder)) == {f"{name}.tfrecord.gz" for name in names} | {"manifest.json", "settings.json"}
    # 0.8 of 7, rounded down
    assert manifest["splits"]["train"] == {"records": 7, "boosted": 5, "natural": 2, "bright": 0}
    assert manifest["splits"]["test"] == {"records": 4, "boosted": 2, "natural": 2, "bright": 0}
    assert calls[-1] == (14, 14)
    scenes = [decode(record) for name in names for record in read_records(folder / f"{name}.tfrecord.gz")]
    assert [scene["scene_id"] for scene in scenes] == [f"1:{i}" for i in range(14)]
    for scene in scenes:
        check(scene, 32)
    boosted = [np.bincount(scene["mask"].ravel(), minlength=3) for scene in scenes if scene["population"] == "boosted"]
    np.testing.assert_allclose(manifest["class_shares"]["boosted"], np.sum(boosted, axis=0) / np.sum(boosted))


def test_a_span_of_a_former_version_is_completed(span, tmp_path):
    folder = spans.span_dir(tmp_path, 1)
    shutil.copytree(spans.span_dir(span[0], 1), folder)
    for name in (spans.MANIFEST, simulate.SETTINGS):
        settings = json.loads((folder / name).read_text())
        for split in spans.SPLITS:
            settings["simulation"][f"{split}_boosted_share"] = settings["simulation"].pop(f"{split}_populations")[
                "boosted"
            ]
        (folder / name).write_text(json.dumps(settings))
    (folder / "test-00000-of-00001.tfrecord.gz").unlink()
    manifest = simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
    assert manifest["files"] == span[1]["files"]
    other = dataclasses.replace(CONFIG, train_populations={"boosted": 1.0})
    with pytest.raises(DataError, match="with other settings .simulation.train_populations.boosted: 0.8 there, 1.0"):
        simulate.simulate_span(other, tmp_path, 1, workers=1)


def test_two_processes_write_the_same_bytes(span, tmp_path):
    simulate.simulate_span(CONFIG, tmp_path, 1, workers=2)
    assert contents(spans.span_dir(tmp_path, 1)) == contents(spans.span_dir(span[0], 1))


def test_an_interrupted_span_is_completed_with_the_same_bytes(span, tmp_path, monkeypatch):
    def killed(shard, *rest):
        if shard.split == "test":
            raise RuntimeError("killed")
        return write(shard, *rest)

    write = simulate.write_shard
    monkeypatch.setattr(simulate, "write_shard", killed)
    with pytest.raises(RuntimeError, match="killed"):
        simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
    folder = spans.span_dir(tmp_path, 1)
    with pytest.raises(DataError, match="there is no manifest"):
        spans.verify_span(folder)
    (folder / "test-00000-of-00001.tfrecord.gz.99.tmp").write_bytes(b"half")

    written = []
    monkeypatch.setattr(simulate, "write_shard", lambda shard, *rest: written.append(shard.name) or write(shard, *rest))
    simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
    assert "test-00000-of-00001.tfrecord.gz" in written
    assert contents(folder) == contents(spans.span_dir(span[0], 1))


def test_a_complete_span_is_left_alone(span, monkeypatch):
    monkeypatch.setattr(simulate, "_run", None)
    assert simulate.simulate_span(CONFIG, span[0], 1) == span[1]


@pytest.mark.parametrize("fault", ["file", "manifest"])
def test_a_span_that_lost_a_file_is_completed_with_the_same_bytes(span, tmp_path, fault):
    folder = spans.span_dir(tmp_path, 1)
    shutil.copytree(spans.span_dir(span[0], 1), folder)
    if fault == "file":
        (folder / "test-00000-of-00001.tfrecord.gz").unlink()
    else:
        (folder / spans.MANIFEST).write_text("{")
    assert spans.find_fault(folder)
    assert simulate.simulate_span(CONFIG, tmp_path, 1, workers=1) == span[1]
    assert contents(folder) == contents(spans.span_dir(span[0], 1))


def test_another_configuration_is_refused(span):
    other = dataclasses.replace(CONFIG, seed=2, truth_threshold=2.0)
    with pytest.raises(
        DataError,
        match=r"span-0001: this span was simulated with other settings \(simulation.seed: 1 there, "
        r"2 wanted, simulation.truth_threshold: 1.0 there.*Choose another span number",
    ):
        simulate.simulate_span(other, span[0], 1)


def test_what_a_lost_worker_left_behind_is_removed(span, tmp_path, monkeypatch):
    write = simulate.write_shard

    def leave_something(shard, simulator, folder, number):
        (Path(folder) / f"{shard.name}.{'0' * 32}.tmp").write_bytes(b"half")
        return write(shard, simulator, folder, number)

    monkeypatch.setattr(simulate, "write_shard", leave_something)
    simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
    assert contents(spans.span_dir(tmp_path, 1)) == contents(spans.span_dir(span[0], 1))


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "span-0001").mkdir()
    (tmp_path / "span-0001" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="span-0001: the folder is not empty and holds no span"):
        simulate.simulate_span(CONFIG, tmp_path, 1)


def test_a_span_that_was_killed_before_its_settings_were_written_is_begun_anew(tmp_path):
    parts = tmp_path / "span-0001" / shards.PARTS
    parts.mkdir(parents=True)
    (tmp_path / "span-0001" / "settings.json.77.tmp").write_text("{")
    assert simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)["complete"]
    assert not list(tmp_path.rglob("*.tmp")) and not parts.exists()


def test_unreadable_settings_are_refused(tmp_path):
    (tmp_path / "span-0001").mkdir()
    (tmp_path / "span-0001" / "settings.json").write_text("{")
    with pytest.raises(DataError, match="settings.json: the settings of this span cannot be read"):
        simulate.simulate_span(CONFIG, tmp_path, 1)


def test_too_little_space_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DataError, match="span-0001: the disk has 0.0 GB left .* Free some space"):
        simulate.simulate_span(CONFIG, tmp_path, 1)
    assert not list(tmp_path.rglob("*.gz"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "The disk is full: free some space"),
        (errno.EACCES, "Check the folder's permissions"),
    ],
)
def test_a_failed_write_leaves_nothing_half_written(tmp_path, monkeypatch, code, message):
    class Full(gzip.GzipFile):
        def write(self, data):
            raise OSError(code, "it failed")

    monkeypatch.setattr(shards.gzip, "GzipFile", Full)
    with pytest.raises(DataError, match=f"tfrecord.gz: this cannot be written \\(it failed\\). {message}"):
        simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
    assert not list(tmp_path.rglob("*.gz")) and not list(tmp_path.rglob("*.tmp"))


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="span-0001: this cannot be written .*Check the folder's permissions"):
        simulate.simulate_span(CONFIG, tmp_path / "data", 1)


def test_a_scene_drawn_alone_is_the_one_in_the_span(span):
    simulator = Simulator(CONFIG)
    path = spans.span_dir(span[0], 1) / "train-00001-of-00002.tfrecord.gz"
    stored = decode(list(read_records(path))[2])
    (alone,) = simulator.scenes(1, [6])
    for name in ("image", "noise_free", "mask"):
        np.testing.assert_array_equal(alone[name], stored[name])


def test_a_catalogue_is_recorded_and_must_not_change(tmp_path):
    path = tmp_path / "galaxies.csv"
    path.write_text("mag,hlr,n,q\n22.0,0.5,1.0,0.7\n23.0,0.4,9.0,0.7\n")
    config = dataclasses.replace(CONFIG, catalog=str(path))
    manifest = simulate.simulate_span(config, tmp_path / "data", 1, workers=1)
    assert manifest["catalog"]["rows"] == 1
    assert manifest["catalog"]["skipped"] == {"Sersic index outside 0.3 to 6.2": 1}
    path.write_text("mag,hlr,n,q\n22.0,0.6,1.0,0.7\n")
    with pytest.raises(DataError, match="this span was simulated with other settings .catalog.sha256: "):
        simulate.simulate_span(config, tmp_path / "data", 1, workers=1)


def test_an_unreadable_catalogue_leaves_nothing_behind(tmp_path):
    config = dataclasses.replace(CONFIG, catalog=str(tmp_path / "absent.fits"))
    with pytest.raises(DataError, match="absent.fits: the catalogue cannot be read"):
        simulate.simulate_span(config, tmp_path / "data", 1, workers=1)
    assert not (tmp_path / "data").exists()


def test_two_simulations_of_one_span_never_run_at_once(tmp_path):
    hold = (
        "import sys\nfrom pathlib import Path\nfrom blendinator.lock import hold\n"
        "with hold(Path(sys.argv[1]), 'simulate', ''):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / ".span-0001.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"process {process.pid} \(blendinator simulate, .* simulates this span"):
            simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)
        assert not (tmp_path / "span-0001").exists()
        process.stdin.close()
        process.wait()
    assert simulate.simulate_span(CONFIG, tmp_path, 1, workers=1)["complete"]
