"""Many retrains in a row on tiny settings: does anything grow without bound?

    python benchmarks/long_life.py --runs 20 --folder /tmp/long      some 20 minutes on 2 cores

Each row is one `blendinator retrain`. `start` is the time from the command to the first component, with the simulation
of its span and without the imports: the retrains are forked from a process that has imported everything. `end` is the
time from the last component to the end of the command: report, retention, pruning. `idle` is a whole fresh `blendinator
run` with nothing to do, `models` a whole fresh `blendinator models`.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

import blendinator

# isort: split
import blendinator.model.trainer
import blendinator.pipeline.dag
import blendinator.pipeline.history.report  # noqa: F401
from blendinator.files import size
from blendinator.pipeline import cli
from blendinator.pipeline.history import run_log

SETTINGS = {
    "simulation": {
        "stamp_size": 32,
        "train_scenes": 60,
        "calibration_scenes": 20,
        "test_scenes": 20,
        "scenes_per_shard": 20,
    },
    "model": {"channels": [4, 8], "convs_per_block": 1, "head_channels": 4, "head_layers": 1, "latent_dim": 2},
    "training": {"steps": 4, "batch_size": 8, "evaluate_every": 2, "evaluation_scenes": 8, "multi_sample_draws": 2},
    "evaluation": {
        "num_samples": 2,
        "bootstrap_replicates": 10,
        "gallery_scenes": 1,
        "min_scenes": 1,
        "classical": {"enabled": False},
        "thresholds": [{"metric": "iou_galaxy", "population": "boosted", "min": 0.0}],
        "relative": [{"metric": "ged", "population": "boosted", "margin": 1e6}],
    },
    # So few scenes differ a lot from span to span.
    "retraining": {
        "keep_versions": 3,
        "keep_runs": 2,
        "keep_spans": 3,
        "keep_logs": 5,
        "drift": {"action": "warn"},
        "warm_start": {"max_sigma_change": 1.0},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--folder", help="output folder; by default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({**SETTINGS, "output_dir": str(folder / "output")}))
        run(config, folder / "output", arguments.runs)


def run(config: Path, output: Path, runs: int) -> None:
    """Prints one row a retrain."""
    print(
        f"{'run':>3} {'status':8} {'total s':>8} {'start s':>8} {'end s':>6} {'idle s':>7} {'models s':>9} "
        f"{'store kB':>9} {'disk MB':>8} {'files':>6} {'versions':>9} {'spans':>6}",
        flush=True,
    )
    for number in range(1, runs + 1):
        child = os.fork()
        if not child:
            try:
                cli.main(["retrain", "--config", str(config)])
            except SystemExit as end:
                os._exit(end.code or 0)
            os._exit(1)
        os.waitpid(child, 0)
        entry = run_log.read(output)[-1]
        idle, models = (timed(name, config) if number % 5 in (0, 1) else None for name in ("run", "models"))
        start, end = around(Path(entry["log"]))
        print(
            f"{number:3d} {entry['status']:8} {entry['seconds']:8.1f} {start:8.2f} {end:6.2f} {text(idle):>7} "
            f"{text(models):>9} {(output / 'metadata.sqlite').stat().st_size / 1e3:9.0f} {size(output) / 1e6:8.2f} "
            f"{sum(1 for _ in output.rglob('*')):6d} {len(list((output / 'serving').glob('*/[0-9]*'))):9d} "
            f"{len(list((output / 'data').glob('span-*'))):6d}",
            flush=True,
        )


def timed(command: str, config: Path) -> float:
    """Seconds of a command in a fresh process."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "blendinator.pipeline.cli", command, "--config", str(config)],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - started


def around(log: Path) -> tuple[float, float]:
    """Seconds from a log's first line to the first component, and from the last component to its last line."""
    stamps = []
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r"(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+),(\d+) (.*)", line)
        if match:
            moment = time.mktime((*map(int, match.groups()[:6]), 0, 0, -1)) + int(match[7]) / 1000
            stamps.append((moment, match[8]))
    begun = [moment for moment, message in stamps if re.search(r"Component \S+ is running", message)]
    ended = [moment for moment, message in stamps if re.search(r"Component \S+ is finished", message)]
    return (begun[0] - stamps[0][0], stamps[-1][0] - ended[-1]) if begun and ended else (float("nan"), float("nan"))


def text(seconds: float | None) -> str:
    """Seconds, or a dash."""
    return "-" if seconds is None else f"{seconds:.2f}"


if __name__ == "__main__":
    main()
