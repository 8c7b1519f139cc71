"""Errors that a user can fix come through Beam as what they are."""

import functools
import signal
import threading
import time

import pytest

from blendinator.beam_errors import carry, end_with_a_dead_worker, raise_carried, unwrap
from blendinator.errors import BlendinatorError, ConfigError, DataError, MachineError, ModelError

QUOTED = "Error received from SDK harness for instruction bundle_3: Traceback (most recent call last):\n  File x\n"


@pytest.mark.parametrize("kind", [BlendinatorError, ConfigError, DataError, ModelError])
def test_a_carried_error_is_raised_as_what_it_was(kind):
    with pytest.raises(kind, match="a.gz: record 3") as raised:
        raise_carried([carry(kind("a.gz: record 3")), carry(DataError("b.gz"))])
    assert type(raised.value) is kind


def test_nothing_is_raised_where_nothing_was_carried():
    raise_carried([])


def test_a_worker_s_error_is_told_from_a_defect():
    other = RuntimeError(QUOTED + "blendinator.errors.DataError: a.gz: is full. [while running 'Simulate']\n\n")
    for error in (other, DataError("a.gz: is full. [while running 'Simulate']")):
        found = unwrap(error)
        assert isinstance(found, DataError) and str(found) == "a.gz: is full."
    model = unwrap(RuntimeError(QUOTED + "blendinator.errors.ModelError: m: no model"))
    assert isinstance(model, ModelError) and str(model) == "m: no model"
    assert unwrap(RuntimeError(QUOTED + "KeyError: 'x'")) is None


def fail(message):
    raise RuntimeError(message)


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])  # ignored: as a script's background
def test_a_dead_worker_ends_the_job(monkeypatch, request, ctrl_c):
    request.addfinalizer(functools.partial(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, ctrl_c)))
    passed_on = []
    monkeypatch.setattr(threading, "excepthook", passed_on.append)
    hook = threading.excepthook
    message = "a worker process was killed.*return code 137.*call again"
    with pytest.raises(MachineError, match=message), end_with_a_dead_worker():
        threading.Thread(target=fail, args=("Worker subprocess exited with return code 137",)).start()
        time.sleep(60)
    assert threading.excepthook is hook and passed_on == []


def test_what_other_threads_raise_stays(monkeypatch):
    passed_on = []
    monkeypatch.setattr(threading, "excepthook", passed_on.append)
    with end_with_a_dead_worker():
        for name in ("mine", "beam_control_read"):  # the latter fails with each worker that ends
            thread = threading.Thread(target=fail, args=("oh",), name=name)
            thread.start()
            thread.join()
    assert [args.thread.name for args in passed_on] == ["mine"]


def test_an_interruption_stays_one():
    with pytest.raises(KeyboardInterrupt), end_with_a_dead_worker():
        raise KeyboardInterrupt


def test_a_thread_that_cannot_be_interrupted_is_left_alone():
    before, inside = threading.excepthook, []

    def work():
        with end_with_a_dead_worker():
            inside.append(threading.excepthook)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
