"""One run: simulate if there is no data, resolve the spans, run the DAG locally, summarise."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.lock import BusyError, exclusive
from blendinator.model.live import list_versions
from blendinator.pipeline import exit_codes
from blendinator.pipeline.beam_engine import check_engine
from blendinator.pipeline.console import quiet_console
from blendinator.pipeline.failures import explain
from blendinator.pipeline.history import metadata, run_log
from blendinator.pipeline.simulation import simulate_if_missing, warn_of_other_settings
from blendinator.pipeline.space import check_space
from blendinator.stack import use_in_memory_runner
from blendinator.stores import Place, place

if TYPE_CHECKING:
    from blendinator.pipeline.history.summary import RunResult

log = logging.getLogger("blendinator.run")


def run(config: Config, spans: str = "latest", enable_cache: bool = True, verbose: bool = False) -> int:
    """Runs the pipeline, with progress and a summary on the terminal and everything else in output/logs.

    Args:
      config: the configuration, with an absolute `output_dir`.
      spans: "latest", "latest:3", or numbers and ranges such as "1,3-5".
      enable_cache: reuse the results of unchanged steps; without it, a run that has nothing to do runs as well.
      verbose: show on the terminal what goes to the log, too.

    Returns:
      The exit code: 0 when a model was pushed or there was nothing to do, 3 when the model was not good enough to be
      pushed, 1 when something stopped the run that the user can fix, which one message says.
    """
    entry = perform(
        config, "run", lambda console, entry: run_pipeline(config, spans, console, entry, enable_cache), verbose
    )
    return exit_codes.of_run(entry)


def perform(
    config: Config, command: str, body: Callable[[Console, dict], "RunResult | None"], verbose: bool = False
) -> dict:
    """Runs `body` with the output folder's lock, the terminal quiet, and a line in the log of the runs.

    Args:
      config: the configuration, with an absolute `output_dir`.
      command: name of the command, for the lock and the log.
      body: called with the console and the run's log entry, to which it may add; returns the result, or None when there
        was nothing to do.
      verbose: show on the terminal what goes to the log, too.

    Returns:
      The log entry; see `blendinator.pipeline.history.run_log`.

    Raises:
      KeyboardInterrupt: on Ctrl-C and SIGTERM, with the state in order and the log entry written.
    """
    started = time.time()
    path = Path(config.output_dir) / "logs" / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    before = set(list_versions(config.serving_dir))
    entry = {
        "command": command,
        "started": _utc(started),
        "pid": os.getpid(),
        "status": run_log.FAILED,
        "reason": "",
        "spans": [],
        "request": None,
        "run": None,
        "version": None,
        "report": None,
        "log": str(path),
    }
    try:
        with exclusive(config.output_dir, command), quiet_console(path, verbose) as console:
            try:
                result = body(console, entry)
                if result is not None:
                    from blendinator.pipeline.history.summary import print_summary

                    _note_result(entry, result)
                    print_summary(console, config, result, path, time.time() - started)
            except (Exception, KeyboardInterrupt) as error:
                logging.getLogger().exception("the run stopped")
                known = explain(error)
                interrupted = isinstance(known, KeyboardInterrupt)
                entry |= {
                    "status": run_log.INTERRUPTED if interrupted else run_log.FAILED,
                    "reason": str(known or f"{type(error).__name__}: {error}"),
                }
                if known is None:
                    console.print(f"[bold red]Stopped by an unexpected {type(error).__name__}[/]")
                    console.print(f"See the log for details: {path}", markup=False, soft_wrap=True)
                    raise
                console.print("[bold red]Stopped[/]")
                console.print(str(known), markup=False, soft_wrap=True)
                console.print(f"{_what_was_pushed(config, before, entry)} Log: {path}", markup=False, soft_wrap=True)
                if interrupted:
                    raise known from error
            finally:
                entry |= {"ended": _utc(time.time()), "seconds": round(time.time() - started, 1)}
                run_log.append(config.output_dir, entry)
    except (OSError, BusyError) as error:  # the log itself cannot be written, or another run is going on
        known = explain(error)
        if known is None:
            raise
        entry |= {"reason": str(known), "log": str(path) if path.exists() else None}
        print(f"Stopped: {known}")
    return entry


def run_pipeline(
    config: Config, spans: str, console: Console, entry: dict, enable_cache: bool = True
) -> "RunResult | None":
    """The run itself; returns None when there was nothing to do.

    Notes the spans and the request in `entry`. Raises BlendinatorError and whatever else goes wrong.
    """
    from blendinator.data.spans import resolve_spans
    from blendinator.pipeline.fingerprint import data_fingerprint, request_fingerprint

    metadata.back_up(config.metadata_path)
    check_space(config, spans)
    simulate_if_missing(config, spans, console)
    chosen = resolve_spans(spans, config.data_root)
    console.print(f"Spans {', '.join(map(str, chosen))} ({spans.strip()})", markup=False)
    warn_of_other_settings(config, chosen)
    fingerprint = data_fingerprint(config.data_root, chosen)
    entry |= {"spans": list(chosen), "request": request_fingerprint(config, fingerprint)}
    for name in metadata.close_interrupted(config.metadata_path):
        log.info("an earlier run was interrupted in %s; its unfinished result is left out", name)
    if enable_cache and nothing_to_do(config, entry, console):
        return None

    check_engine(config.beam.pipeline_args)
    console.print("Loading TensorFlow and TFX", style="dim")
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from blendinator.components.export_check.triton import require_python
    from blendinator.model import pace
    from blendinator.model.live import NO_VERSION, find_live, training_key
    from blendinator.pipeline.dag import create_pipeline, trainer_config
    from blendinator.pipeline.history import retention, summary
    from blendinator.pipeline.history.report import write_report

    if config.serving.infra_check == "triton":  # rather than after the training
        require_python(config.serving.triton_python)
    Path(config.metadata_path).parent.mkdir(parents=True, exist_ok=True)
    live = find_live(config.serving_dir, training_key(trainer_config(config, fingerprint)))
    start = live.name if live else first_model(config)
    warm = config.retraining.warm_start.enabled and start != NO_VERSION
    console.print(f"Expect {pace.outlook(config, warm)}")
    use_in_memory_runner()
    LocalDagRunner().run(create_pipeline(config, ",".join(map(str, chosen)), fingerprint, start, enable_cache))
    page, _ = write_report(config)
    result = summary.collect(config, chosen, page)
    if result.pushed:
        retention.prune_versions(config)
    return result


def first_model(config: Config) -> str:
    """What a training starts from where nothing was pushed: the released model, if the package ships one of the same
    network and the same images, and warm starts are on; else nothing."""
    from blendinator.model import released
    from blendinator.model.live import NO_VERSION, RELEASED
    from blendinator.pipeline.dag import EXPORTED

    found = released.card() if config.retraining.warm_start.enabled else None
    if found is None:
        return NO_VERSION
    ours, theirs = config_to_dict(config), found["facts"]["config"]
    other = [f"model.{key}" for key in ours["model"] if ours["model"][key] != theirs["model"].get(key)]
    other += [f"simulation.{key}" for key in EXPORTED if ours["simulation"][key] != theirs["simulation"].get(key)]
    if other:
        log.info("a cold start: the released model was trained with another %s", ", ".join(other))
        return NO_VERSION
    return RELEASED


def nothing_to_do(config: Config, entry: dict, console: Console) -> bool:
    """Whether the newest completed run had the same request, and what it pushed is still there; says so."""
    last = run_log.last_completed(config.output_dir)
    if last is None or last["request"] != entry["request"] or (last["version"] and not place(last["version"]).exists()):
        return False
    entry |= {"status": run_log.NOTHING, "run": last["run"], "reason": f"nothing changed since {last['started']}"}
    outcome = f"pushed\nversion   {last['version']}" if last["version"] else f"not pushed, because {last['reason']}"
    console.print(
        f"Nothing to do: spans, configuration, code and libraries are those of the run of {last['started']}, and "
        f"nothing is pushed again. That run:\nmodel     {outcome}\nreport    {last['report']}\nlog       {last['log']}",
        markup=False,
        soft_wrap=True,
    )
    return True


def _what_was_pushed(config: Config, before: set[Place], entry: dict) -> str:
    """A sentence for a run that stopped: the push comes before the report and the pruning, which may fail as well."""
    pushed = sorted(set(list_versions(config.serving_dir)) - before)
    if not pushed:
        return "Nothing was pushed."
    entry |= {"version": str(pushed[-1])}
    return f"Version {pushed[-1].name} had been pushed before: {pushed[-1]}."


def _note_result(entry: dict, result: "RunResult") -> None:
    entry |= {
        "status": run_log.PUSHED if result.pushed else run_log.REFUSED,
        "reason": result.reason,
        "run": result.run,
        "version": str(result.version_path) if result.pushed else None,
        "report": str(result.report_path),
    }


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
