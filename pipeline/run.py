"""One run: simulate if there is no data, resolve the spans, run the DAG locally, summarise."""

import errno
import logging
import os
import re
import shutil
import time
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import BlendinatorError, DataError

log = logging.getLogger("blendinator.run")

FIRST_SPAN = 1
WORKING_SPACE = 500e6  # bytes for artifacts, checkpoints, logs and two copies of the model, besides the data


def run(config: Config, spans: str = "latest", enable_cache: bool = True) -> int:
    """Runs the pipeline, with progress and a summary on the terminal and everything else in output/logs.

    Args:
      config: the configuration, with an absolute `output_dir`.
      spans: "latest", "latest:3", or numbers and ranges such as "1,3-5".
      enable_cache: reuse the results of unchanged steps.

    Returns:
      The exit code: 0 when the run went through, whether or not the model was good enough to be pushed; 1 when
      something stopped it that the user can mend, which one message says.
    """
    from pipeline.console import quiet_console

    log_path = Path(config.output_dir) / "logs" / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        with quiet_console(log_path) as console:
            started = time.monotonic()
            try:
                result = run_pipeline(config, spans, console, enable_cache)
            except (Exception, KeyboardInterrupt) as error:
                logging.getLogger().exception("the run stopped")
                known = explain(error)
                if known is None:
                    console.print(f"[bold red]Stopped by an unexpected {type(error).__name__}[/]")
                    console.print(f"The whole story is in the log: {log_path}", markup=False, soft_wrap=True)
                    raise
                console.print("[bold red]Stopped[/]")
                console.print(str(known), markup=False, soft_wrap=True)
                console.print(f"Nothing was pushed. Log: {log_path}", markup=False, soft_wrap=True)
                return 1
            from pipeline.summary import print_summary

            print_summary(console, config, result, log_path, time.monotonic() - started)
            return 0
    except OSError as error:  # the log itself cannot be written
        known = explain(error)
        if known is None:
            raise
        print(f"Stopped: {known}")
        return 1


def run_pipeline(config: Config, spans: str, console, enable_cache: bool = True):
    """The run itself; returns a `pipeline.summary.RunResult`. Raises BlendinatorError and whatever else goes wrong."""
    from data.spans import resolve_spans
    from pipeline import summary
    from pipeline.fingerprint import data_fingerprint

    check_space(config, spans)
    simulate_if_missing(config, spans, console)
    chosen = resolve_spans(spans, config.data_root)
    warn_of_other_settings(config, chosen)

    console.print("Loading TensorFlow and TFX", style="dim")
    import model  # noqa: F401  settles the Keras version before TFX imports TensorFlow
    from tfx.v1.orchestration import LocalDagRunner

    from pipeline.dag import create_pipeline, trainer_config
    from pipeline.live import NO_VERSION, find_live, training_key
    from pipeline.report import write_report

    Path(config.metadata_path).parent.mkdir(parents=True, exist_ok=True)
    fingerprint = data_fingerprint(config.data_root, chosen)
    live = find_live(config.serving_dir, training_key(trainer_config(config, fingerprint)))
    LocalDagRunner().run(create_pipeline(
        config, ",".join(map(str, chosen)), fingerprint, live.name if live else NO_VERSION, enable_cache))
    page, _ = write_report(config)
    return summary.collect(config, chosen, page)


def simulate_if_missing(config: Config, spans: str, console) -> None:
    """Simulates the first span when the latest one is asked for and there is none."""
    from data.spans import list_spans

    if spans.strip() == "latest" and not list_spans(config.data_root):
        simulate(config, FIRST_SPAN, console)


def simulate(config: Config, span: int, console, workers: int | None = None) -> dict:
    """Simulates a span with a progress bar and returns its manifest; see `data.simulate.simulate_span`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from data.simulate import simulate_span

    console.print(f"[bold]Simulating span {span}[/bold]")
    started = time.monotonic()
    columns = (TextColumn("  scenes"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())

    def show(done: int, total: int) -> None:
        rate = done / max(time.monotonic() - started, 1e-3)
        progress.update(task, completed=done, total=total, rate=f"{rate:.0f}/s" if done else "")

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("scenes", rate="")
        manifest = simulate_span(
            config.simulation, config.data_root, span,
            workers=config.beam.simulation_workers if workers is None else workers,
            progress=show)
    counts = ", ".join(f"{entry['records']} {split}" for split, entry in manifest["splits"].items())
    console.print(f"  {counts} scenes in {time.monotonic() - started:.0f} s", style="dim")
    return manifest


def warn_of_other_settings(config: Config, chosen: tuple[int, ...]) -> None:
    """Says so when a span that is used was simulated with other settings than the configuration's."""
    from data.spans import read_manifest, span_dir
    from pipeline.config_loader import config_to_dict

    wanted = config_to_dict(config.simulation)
    for span in chosen:
        stored = read_manifest(span_dir(config.data_root, span)).get("simulation", {})
        other = sorted(key for key in wanted if stored.get(key) != wanted[key])
        if other:
            log.warning("span %d was simulated with other settings than the configuration's: %s. It is used as it is.",
                        span, ", ".join(f"simulation.{key}" for key in other))


def check_space(config: Config, spans: str = "latest") -> None:
    """Raises DataError when the disk has less room than a run may need: spans, their ingested copy, working space."""
    from data.spans import BYTES_PER_PIXEL, list_spans

    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    simulation = config.simulation
    scenes = simulation.train_scenes + simulation.calibration_scenes + simulation.test_scenes
    size = scenes * simulation.stamp_size**2 * BYTES_PER_PIXEL
    simulated = bool(list_spans(config.data_root)) or spans.strip() != "latest"
    needed = WORKING_SPACE + size * (1 if simulated else 2)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{folder}: the disk has {free / 1e9:.1f} GB left and a run may need {needed / 1e9:.1f} GB. "
                        "Free some space, set output_dir to another disk, or simulate fewer scenes.")


def explain(error: BaseException) -> BlendinatorError | KeyboardInterrupt | None:
    """The error as one that a user can mend, or None when it is a defect of ours.

    Looks through the errors that this one was raised from: libraries wrap what an executor or a Beam step raises.
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, KeyboardInterrupt):
            return KeyboardInterrupt("Interrupted. Run again to go on with what was not finished.")
        if isinstance(error, BlendinatorError):
            # Beam appends the name of its step.
            return type(error)(re.sub(r" \[while running [^\]]*\]$", "", str(error).strip()))
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or re.search(r"No space left on device|disk is full", str(error)):
            where = getattr(error, "filename", None) or "output_dir"
            return DataError(f"{where}: there is no space left on the disk. Free some space or set output_dir to "
                             "another disk, then run again.")
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EROFS):
            return DataError(f"{error.filename}: this cannot be written ({error.strerror}). Check the folder's "
                             "permissions, or set output_dir to another folder.")
        error = error.__cause__ or error.__context__
    return None
