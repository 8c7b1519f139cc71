"""The terminal shows our progress; everything else goes to the log file."""

import logging
import os
import subprocess

import absl.logging

from blendinator.pipeline.console import quiet_console


def test_only_our_progress_reaches_the_terminal(tmp_path, capfd):
    log_path = tmp_path / "logs" / "run.log"
    with quiet_console(log_path) as console:
        console.print("shown")
        logging.getLogger("blendinator.training").info("step 1 of 2")
        logging.getLogger("other").info("a library's remark")
        print("a library's print")
        os.write(2, b"a library's C++ line\n")
        subprocess.run(["echo", "a child's line"], check=True)
        absl.logging.info("Component Trainer is running.")
        absl.logging.info("A cached execution 7 is used.")
        absl.logging.info("Component Trainer is finished.")
    terminal, errors = capfd.readouterr()
    lines = [line.strip() for line in terminal.splitlines()]
    assert lines.pop(1).endswith("  step 1 of 2")
    assert lines == ["shown", "Trainer", "unchanged, reused"] and errors == ""
    log = log_path.read_text()
    for text in ("a library's remark", "a library's print", "a library's C++ line", "a child's line", "step 1 of 2"):
        assert text in log


def test_streams_and_loggers_are_restored_after_an_error(tmp_path, capfd):
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("blendinator").handlers[:]
    try:
        with quiet_console(tmp_path / "run.log"):
            raise ValueError
    except ValueError:
        pass
    print("back")
    assert capfd.readouterr().out == "back\n"
    assert (root.handlers[:], root.level, logging.getLogger("blendinator").handlers[:]) == before


def test_verbose_shows_on_the_terminal_what_the_log_gets(tmp_path, capfd):
    with quiet_console(tmp_path / "run.log", verbose=True) as console:
        console.print("shown")
        logging.getLogger("blendinator.training").info("step 1 of 2")
        print("a library's print")
        subprocess.run(["echo", "a child's line"], check=True)
    print("back")
    terminal, log = capfd.readouterr().out, (tmp_path / "run.log").read_text()
    assert terminal.endswith("back\n") and "back" not in log
    for text in ("step 1 of 2", "a library's print", "a child's line"):
        assert terminal.count(text) == 1 and log.count(text) == 1
    assert "shown" in terminal
