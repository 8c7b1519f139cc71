"""One run: simulate if there is no data, resolve the spans, run the DAG locally, summarise."""

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from blendinator import beam_errors, files
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.errors import BlendinatorError, DataError
from blendinator.former_keys import migrate_simulation
from blendinator.lock import BusyError, exclusive
from blendinator.model.live import list_versions
from blendinator.pipeline import exit_codes
from blendinator.pipeline.beam_engine import check_engine, simulation_args
from blendinator.pipeline.console import quiet_console
from blendinator.pipeline.history import metadata, run_log
from blendinator.stack import use_in_memory_runner
from blendinator.stores import Place, place

if TYPE_CHECKING:
    from blendinator.pipeline.history.summary import RunResult

log = logging.getLogger("blendinator.run")

FIRST_SPAN = 1
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS)
WORKING_SPACE = 500e6  # bytes for artifacts, checkpoints, logs and two copies of the model, besides the data


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


def simulate_if_missing(config: Config, spans: str, console: Console) -> None:
    """Simulates the first span when the latest ones are requested and there is none."""
    from blendinator.data.spans import list_spans, parse_selection

    if isinstance(parse_selection(spans), int) and not list_spans(config.data_root):
        simulate(config, FIRST_SPAN, console)


def simulate(config: Config, span: int, console: Console, workers: int | None = None) -> dict:
    """Simulates a span with a progress bar and returns its manifest; see `blendinator.data.simulate.simulate_span`.

    It runs where `beam.pipeline_args` says; with DirectRunner and Dataflow, or where `workers` is given, in processes
    of this machine.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from blendinator.data.simulate import simulate_span

    pipeline_args = simulation_args(config.beam.pipeline_args) if workers is None else None
    if pipeline_args:
        check_engine(pipeline_args)
    console.print(f"[bold]Simulating span {span}[/bold]")
    started = time.monotonic()
    columns = (
        TextColumn("  scenes"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )

    def show(done: int, total: int) -> None:
        rate = done / max(time.monotonic() - started, 1e-3)
        progress.update(task, completed=done, total=total, rate=f"{rate:.0f}/s" if done else "")

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("scenes", rate="")
        manifest = simulate_span(
            config.simulation,
            config.data_root,
            span,
            workers=config.beam.simulation_workers if workers is None else workers,
            progress=show,
            pipeline_args=pipeline_args,
        )
    counts = ", ".join(f"{entry['records']} {split}" for split, entry in manifest["splits"].items())
    console.print(f"  {counts} scenes in {time.monotonic() - started:.0f} s", style="dim")
    return manifest


def warn_of_other_settings(config: Config, chosen: tuple[int, ...]) -> None:
    """Says so when a span that is used was simulated with other settings than the configuration's."""
    from blendinator.data.spans import read_manifest, span_dir

    wanted = config_to_dict(config.simulation)
    for span in chosen:
        stored = read_manifest(span_dir(config.data_root, span)).get("simulation")
        if stored is None:  # a user's own images
            continue
        stored = migrate_simulation(stored)
        other = sorted(key for key in wanted if stored.get(key) != wanted[key])
        if other:
            log.warning(
                "span %d was simulated with other settings than the configuration's: %s. It is used as it is.",
                span,
                ", ".join(f"simulation.{key}" for key in other),
            )


def check_space(config: Config, spans: str = "latest") -> None:
    """Raises DataError when the disk has less room than a run may need."""
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = needed_space(config, spans), shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: the disk has {free / 1e9:.1f} GB left and a run may need {needed / 1e9:.1f} GB. "
            "Free some space, set output_dir to another disk, or simulate fewer scenes."
        )


def needed_space(config: Config, spans: str = "latest") -> float:
    """Bytes that a run may need: spans, their ingested copy, what the training maps into memory, working space."""
    from blendinator.data.spans import BYTES_PER_PIXEL, MAPPED_BYTES_PER_PIXEL, list_spans, parse_selection
    from blendinator.data.survey import bands_of

    simulation, wanted, there = config.simulation, parse_selection(spans), len(list_spans(config.data_root))
    used = max(1, min(wanted, there)) if isinstance(wanted, int) else len(wanted)
    simulated = 0 if there or not isinstance(wanted, int) else 1
    mapped = simulation.train_scenes + simulation.calibration_scenes
    stored = mapped + simulation.test_scenes
    return WORKING_SPACE + simulation.stamp_size**2 * len(bands_of(simulation.survey)) * (
        (simulated + used) * stored * BYTES_PER_PIXEL + used * mapped * MAPPED_BYTES_PER_PIXEL
    )


def explain(error: BaseException | None) -> BlendinatorError | KeyboardInterrupt | None:
    """The error as one that a user can fix, or None when it is a defect of ours.

    Looks through the errors that this one was raised from: libraries wrap what an executor or a Beam step raises.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, KeyboardInterrupt):
            return type(error)("Interrupted. Run again to go on with what was not finished.")
        if (ours := beam_errors.unwrap(error)) is not None:
            return ours
        full = isinstance(error, OSError) and error.errno in files.NO_ROOM
        if full or re.search(r"No space left on device|disk is full", str(error)):
            where = getattr(error, "filename", None) or "output_dir"
            return files.write_error(where, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            return files.write_error(error.filename, error)
        if re.search(r"Read-only file system|attempt to write a readonly database", str(error)):
            return DataError(
                f"{str(error)[:200]}: output_dir cannot be written. Check its permissions and how the "
                "disk is mounted, or set output_dir to another folder."
            )
        # TensorFlow's errors by their names: they are told apart without importing it.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            text = str(error).splitlines()[0][:200] if str(error) else "no text"
            return DataError(
                f"The memory does not suffice ({text})."
                " Reduce training.batch_size, evaluation.batch_size or the number of scenes, or end other "
                "programs, then run again."
            )
        if type(error).__name__ == "DataLossError":
            return DataError(
                f"A file of an earlier step is damaged ({str(error).splitlines()[0][:200]}). Run again "
                "with `blendinator run --no-cache`, which makes all of them again, and have the disk "
                "checked."
            )
        error = error.__cause__ or error.__context__
    return None
