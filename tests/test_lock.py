"""The lock: one holder, named to others, and gone with its process however that ends."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from blendinator.errors import DataError
from blendinator.lock import LOCK_FILE, BusyError, exclusive

HOLD = """
import sys, time
from blendinator.errors import DataError
from blendinator.lock import exclusive
with exclusive(sys.argv[1], "retrain"):
    print("held", flush=True)
    time.sleep(60)
"""
FORK = HOLD.replace(
    "    print",
    "    import os\n"
    '    child = os.fork()\n    if child: open(sys.argv[1] + "/child", "w").write(str(child))\n'
    "    else: time.sleep(60)\n    print",
)


def start(folder, script=HOLD):
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_second_holder_is_refused_and_told_who_holds_it(tmp_path):
    process = start(tmp_path)
    try:
        message = rf"process {process.pid} \(blendinator retrain, since 2.*Wait until it has ended"
        with pytest.raises(BusyError, match=message), exclusive(tmp_path, "run"):
            pass
    finally:
        process.kill()
        process.wait()


def test_killed_holder_leaves_no_lock(tmp_path):
    process = start(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK_FILE).read_text() != ""  # what it wrote is there; the lock is not
    with exclusive(tmp_path, "run"):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()


def test_processes_that_outlive_a_killed_holder_do_not_hold_it(tmp_path):
    process = start(tmp_path, FORK)
    process.send_signal(signal.SIGKILL)
    process.wait()
    child = int((tmp_path / "child").read_text())
    try:
        os.kill(child, 0)  # it lives
        with exclusive(tmp_path, "run"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_it_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="broken"), exclusive(tmp_path, "run"):
        raise ValueError("broken")
    with exclusive(tmp_path / "new" / "folder", "run"), exclusive(tmp_path, "run"):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(DataError, match="the file system has no locks .*Set output_dir"), exclusive(tmp_path, "run"):
        pass
