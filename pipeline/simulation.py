"""The simulation of a span as a step of a run: whether it is needed, where it runs, and its progress."""

import logging
import time

from rich.console import Console

from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.data.spans import list_spans, parse_selection, read_manifest, span_dir
from blendinator.former_keys import migrate_simulation
from blendinator.pipeline.beam_engine import check_engine, simulation_args

log = logging.getLogger("blendinator.run")

FIRST_SPAN = 1


def simulate_if_missing(config: Config, spans: str, console: Console) -> None:
    """Simulates the first span when the latest ones are requested and there is none."""
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
