"""Faults of disk, memory and clock, through the command line, on one folder that goes from fault to fault.

Each has its message and exit code, loses nothing, and the next run works. What the steps before the fault made is
reused, so that a fault costs little more than its own step.
"""

import re
import sqlite3
import sys

import pytest

from blendinator.model.live import list_versions
from blendinator.pipeline.history import metadata, run_log

FULL = "there is no space left on the disk|The disk is full"
DAY = 86400


def stopped(answer, message):
    """Asserts that a run failed with the message, without a traceback, and left no process."""
    assert answer["status"] == 1 and answer["left"] == 0, answer
    assert re.search(message, answer["output"]), answer["output"]
    assert "Traceback" not in answer["output"], answer["output"]


def test_full_and_read_only_disk(small_disk, configure, steps, tmp_path, request):
    """The disk fills up as a step is about to write; the folder of the pushed versions is read-only."""
    server, disk, seen = small_disk
    path, config = configure(tmp_path, output=disk)
    nightly = request.config.getoption("--nightly")
    for step in steps if nightly else ("simulation", "StatisticsGen"):
        answer = server.ask("retrain", "--config", path, step=step, fault="fill_disk", before=True, folder=str(disk))
        print(step, answer["status"], answer["output"][-300:], file=sys.stderr, flush=True)
        stopped(answer, FULL)
        (seen / "filler").unlink()
    if not nightly:
        return  # each step that was reached shows that the one before it worked in the end
    answer = server.ask(
        "retrain", "--config", path, step="Pusher", fault="serve_read_only", before=True, folder=config.output_dir
    )
    stopped(answer, "Read-only file system")
    answer = server.ask("retrain", "--config", path)
    assert answer["status"] == 0 and "pushed" in answer["output"], answer["output"]
    [version] = list_versions(seen / "output" / "serving" / "blendinator")
    assert version.name in server.ask("models", "--config", path)["output"]


@pytest.mark.nightly
def test_memory_and_clock(forks, configure, tmp_path):
    path, config = configure(tmp_path)
    answer = forks.ask("retrain", "--config", path, step="Trainer", fault="limit_memory", before=True)
    if answer["killed"]:  # a library that finds no memory mostly ends the process itself, as the kernel does
        assert run_log.read(config.output_dir) == [] and answer["left"] == 0, answer
    else:
        stopped(answer, "There is not enough memory")
    # A day ahead: a clock that is set right afterwards has gone back.
    answer = forks.ask("retrain", "--config", path, clock=DAY)
    assert answer["status"] == 0, answer["output"]
    with sqlite3.connect(config.metadata_path) as store:
        for table in ("Artifact", "Execution"):
            store.execute(
                f"UPDATE {table} SET create_time_since_epoch = create_time_since_epoch + {DAY * 1000}, "
                f"last_update_time_since_epoch = last_update_time_since_epoch + {DAY * 1000}"
            )
    [ahead] = list_versions(config.serving_dir)
    answer = forks.ask("retrain", "--config", path)
    assert answer["status"] == 0, answer["output"]
    versions = list_versions(config.serving_dir)
    assert versions[0] == ahead and len(versions) == 2 and int(versions[1].name) == int(ahead.name) + 1
    last = run_log.read(config.output_dir)[-1]
    assert last["version"] == str(versions[1]) and last["spans"] == [2]
    explained = forks.ask("explain", "--config", path)
    assert explained["status"] == 0 and versions[1].name in explained["output"], explained["output"]
    listed = forks.ask("models", "--config", path)["output"]
    assert listed.index(f"*  {versions[1].name}") < listed.index(ahead.name)
    assert metadata.close_interrupted(config.metadata_path) == []
