"""SIGTERM ends a command as Ctrl-C does, with the exit code of a shell."""

import os
import signal
import threading

import click
import pytest
from click.testing import CliRunner

from blendinator.config import Config
from blendinator.lock import exclusive
from blendinator.pipeline.cli import _Group
from blendinator.pipeline.history import run_log
from blendinator.pipeline.interruption import Terminated, exit_code, terminable
from blendinator.pipeline.run import perform


def test_the_first_signal_is_an_exception_and_the_second_is_not():
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal came to nothing")
    with terminable():
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_handler_from_before_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_handler_outside_of_the_main_thread():
    found = []

    def body():
        with terminable():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_exit_code_log_and_lock(tmp_path, number, code):
    # A shell's background jobs, such as a CI's, are started with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    config = Config(output_dir=str(tmp_path))

    @click.group(cls=_Group)
    def main():
        pass

    @main.command()
    def work():
        perform(config, "work", lambda console, entry: os.kill(os.getpid(), number))

    try:
        result = CliRunner().invoke(main, ["work"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == code and "Interrupted." in result.output
    [entry] = run_log.read(tmp_path)
    assert entry["status"] == "interrupted" and "Run again to go on" in entry["reason"]
    with exclusive(tmp_path, "test"):
        pass


def test_exit_codes():
    assert (exit_code(KeyboardInterrupt()), exit_code(Terminated())) == (130, 143)
