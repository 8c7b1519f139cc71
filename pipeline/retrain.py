"""One retraining unattended: new span, run, pruning, log line, and a command when it went wrong."""

import logging
import os
import subprocess
from typing import TYPE_CHECKING

from rich.console import Console

from blendinator.config import Config
from blendinator.pipeline import exit_codes
from blendinator.pipeline.history import run_log
from blendinator.pipeline.run import perform, run_pipeline
from blendinator.pipeline.simulation import FIRST_SPAN, simulate

if TYPE_CHECKING:
    from blendinator.pipeline.history.summary import RunResult

log = logging.getLogger("blendinator.retrain")

HOOK_TIMEOUT = 600  # seconds; a mail program that hangs must not hold up the schedule


def retrain(config: Config, verbose: bool = False) -> int:
    """Simulates a span if one is wanted, runs the pipeline on `retraining.spans`, prunes, and calls the hook.

    Args:
      config: the configuration, with an absolute `output_dir`.
      verbose: show on the terminal what goes to the log, too.

    Returns:
      0 when a model was pushed or there was nothing to do, 3 when the model was refused, 1 when the run failed.
    """
    entry: dict = {"status": run_log.FAILED}

    def body(console: Console, begun: dict) -> "RunResult | None":
        nonlocal entry
        entry = begun  # it is written to until the run has ended, however it ends
        span = span_to_simulate(config)
        if span is not None:
            simulate(config, span, console)
        result = run_pipeline(config, config.retraining.spans, console, begun)
        from blendinator.pipeline.history import retention

        retention.prune(config)
        return result

    try:
        entry = perform(config, "retrain", body, verbose)
    except Exception as error:  # a defect of ours: the traceback goes on, after the hook
        call_hook(config, {"reason": f"{type(error).__name__}: {error}", **entry})
        raise
    call_hook(config, entry)
    return exit_codes.of_run(entry)


def span_to_simulate(config: Config) -> int | None:
    """The number of the span to simulate, or None when none is wanted or the newest one has not been used.

    A retraining that was killed after its simulation goes on with the span that it made.
    """
    from blendinator.data.spans import list_spans

    if not config.retraining.simulate:
        return None
    spans = list_spans(config.data_root)
    if not spans:
        return FIRST_SPAN
    return spans[-1] + 1 if spans[-1] in run_log.used_spans(config.output_dir) else None


def call_hook(config: Config, entry: dict) -> None:
    """Runs the configured command for a failed or refused run; what goes wrong with it is logged and no more.

    The command gets the log entry as JSON on its standard input, and `BLENDINATOR_STATUS`, `BLENDINATOR_REASON` and
    `BLENDINATOR_LOG` in its environment. The command itself is not logged: a token may stand there.
    """
    commands = {run_log.FAILED: config.retraining.on_failure, run_log.REFUSED: config.retraining.on_refusal}
    command = commands.get(entry["status"])
    if not command:
        return
    environment = {
        **os.environ,
        "BLENDINATOR_STATUS": entry["status"],
        "BLENDINATOR_REASON": entry.get("reason") or "",
        "BLENDINATOR_LOG": entry.get("log") or "",
    }
    try:
        process = subprocess.run(
            command,
            shell=True,
            input=run_log.to_json(entry),
            text=True,
            env=environment,
            timeout=HOOK_TIMEOUT,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        log.warning("the command for a run that was %s did not end within %d s", entry["status"], HOOK_TIMEOUT)
        return
    if process.returncode:
        log.warning(
            "the command for a run that was %s ended with code %d: %s",
            entry["status"],
            process.returncode,
            process.stderr.strip(),
        )
