"""Processor time and memory of each stage against the number of scenes.

    python benchmarks/scaling.py 1000 10000                                      some 10 minutes on 2 cores
    python benchmarks/scaling.py 10000 100000 --of 10000 --until Transform --folder /scratch
    python benchmarks/scaling.py --table /scratch                                the table again

With --of, spans of more scenes than that are made of as many as that, linked several times: the stages up to Transform
cannot tell, and the simulation, which costs most, is spared.

The stages are those of the pipeline with the default configuration, save for a short training and rules that every
model keeps. Each runs in a process of its own, forked from one that has imported everything; the stages before it come
from TFX's cache. Spans are simulated by one process.
"""

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

import blendinator

# isort: split
from scipy.optimize import brentq
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import RunOptions

import blendinator.model.trainer  # noqa: F401  imported before the forks
from blendinator.config import Config
from blendinator.config_loader import config_from_dict
from blendinator.data.simulate import simulate_span
from blendinator.data.spans import MANIFEST, SPLITS, read_manifest, shard_name, span_dir
from blendinator.model.live import read_facts
from blendinator.pipeline.dag import create_pipeline

SIZES = {"train": 10000, "calibration": 1500, "test": 2000}  # the default's proportions
STAGES = (
    "simulate",
    "SpanExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "DriftGate",
    "Transform",
    "Trainer",
    "CalibrationEvaluator",
    "ExportCheck",
    "Pusher",
)
STEPS = 10
RESULTS = "scaling.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=int, nargs="*")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="last stage")
    parser.add_argument("--of", type=int, help="make larger spans out of this many simulated scenes")
    parser.add_argument("--folder", help="for spans, artifacts and results; by default a temporary one")
    parser.add_argument("--table", help="print the table of this folder's results, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print_table(json.loads((Path(arguments.table) / RESULTS).read_text()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for scenes in arguments.scenes for row in measure(folder, scenes, arguments.until, arguments.of)]
        print_table(rows)


def measure(folder: Path, scenes: int, until: str, of: int | None) -> list[dict]:
    """Runs the stages on one number of scenes; one row each, also added to the folder's results."""
    config = configuration(folder, scenes)
    results, rows = folder / RESULTS, []
    stages = STAGES[: STAGES.index(until) + 1]
    if of and scenes > of:
        small = configuration(folder, of)
        simulate_span(small.simulation, small.data_root, 1)
        repeat_span(span_dir(small.data_root, 1), span_dir(config.data_root, 1), scenes // of)
        stages = stages[1:]
    for stage in stages:
        row = {
            "scenes": scenes,
            "stage": stage,
            **in_child(lambda stage=stage: run_stage(config, stage), folder / f"{stage}.log"),
        }
        if stage == "Trainer":
            row["loop_seconds"] = read_facts(next(Path(config.pipeline_root).glob("Trainer/model/*/Format-Serving")))[
                "seconds"
            ]
        print(json.dumps(row), flush=True)
        rows.append(row)
        results.write_text(json.dumps((json.loads(results.read_text()) if results.exists() else []) + [row], indent=1))
    return rows


def configuration(folder: Path, scenes: int) -> Config:
    """The default's proportions of the splits, a short training, and a gate that lets everything pass."""
    sizes = {f"{split}_scenes": max(30, round(scenes * size / sum(SIZES.values()))) for split, size in SIZES.items()}
    return config_from_dict(
        {
            "output_dir": str(folder / str(scenes)),
            "simulation": sizes,
            "training": {"steps": STEPS, "evaluate_every": STEPS},
            "evaluation": {
                "min_scenes": 1,
                "thresholds": [{"metric": "iou_galaxy", "min": 0.0}],
                "relative": [{"metric": "ged", "margin": 1e6}],
            },
        }
    )


def run_stage(config: Config, stage: str) -> None:
    """Simulates, or runs the pipeline from its beginning to a stage."""
    if stage == "simulate":
        simulate_span(config.simulation, config.data_root, 1, workers=1)
        return
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)
    LocalDagRunner().run(create_pipeline(config, "1", live="none"), run_options=RunOptions(to_nodes=[stage]))


def repeat_span(source: Path, target: Path, times: int) -> None:
    """A span that holds each file of another one several times, as links."""
    manifest = read_manifest(source)
    files = {}
    target.mkdir(parents=True)
    for split in SPLITS:
        names = [name for name, entry in manifest["files"].items() if entry["split"] == split] * times
        for i, name in enumerate(names):
            link = shard_name(split, i, len(names))
            os.link(source / name, target / link)
            files[link] = manifest["files"][name]
    splits = {
        split: {key: value * times for key, value in entry.items()} for split, entry in manifest["splits"].items()
    }
    (target / MANIFEST).write_text(json.dumps({**manifest, "files": files, "splits": splits}))


def start_child(work, log: Path) -> int:
    """The number of a forked process that runs a function; its output and traceback go to a log."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    logging.basicConfig(level=logging.INFO)
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def in_child(work, log: Path) -> dict:
    """Runs a function in a forked process; its wall and processor seconds and peak memory, its children's included.

    `own_MiB` is the process's memory without what is mapped from files, which the system can take back.
    """
    begun, own = time.perf_counter(), 0
    child = start_child(work, log)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        found = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{child}/status").read_text())
        own = max(own, int(found[1]) if found else 0)
        time.sleep(0.2)
    if status:
        raise SystemExit(f"{log}: the stage failed; its log is there")
    return {
        "wall": round(time.perf_counter() - begun, 1),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_MiB": round(usage.ru_maxrss / 1024),
        "own_MiB": round(own / 1024),
    }


def print_table(rows: list[dict]) -> None:
    """One line a stage: processor seconds and memory at each number of scenes, and the growth between the last two."""
    sizes = sorted({row["scenes"] for row in rows})
    found = {(row["stage"], row["scenes"]): row for row in rows}
    print(
        "\n"
        + f"{'processor seconds':22}"
        + "".join(f"{size:>10}" for size in sizes)
        + "  ms a scene, fixed s, exponent;  peak MiB, without mapped files"
    )
    for stage in STAGES:
        mine = [found.get((stage, size)) for size in sizes]
        if any(mine):
            print(
                f"{stage:22}"
                + "".join(f"{row['cpu']:10.1f}" if row else f"{'':10}" for row in mine)
                + "  "
                + growth([row for row in mine if row])
                + ";  "
                + " ".join(f"{row['peak_MiB']}/{row['own_MiB']}" for row in mine if row)
            )


def growth(rows: list[dict]) -> str:
    """Between the two largest sizes: cost of a further scene, and what is left for none; p of a + b n^p."""
    if len(rows) < 2:
        return ""
    (n1, t1), (n2, t2) = [(row["scenes"], row["cpu"]) for row in rows[-2:]]
    slope = (t2 - t1) / (n2 - n1)
    text = f"{1000 * slope:.3f}, {t1 - slope * n1:.1f}"
    if len(rows) > 2 and rows[-3]["cpu"] < t1 < t2:
        n0, t0 = rows[-3]["scenes"], rows[-3]["cpu"]
        misfit = lambda p: (n2**p - n1**p) / (n1**p - n0**p) - (t2 - t1) / (t1 - t0)
        if misfit(0.01) * misfit(5.0) < 0:  # else it is steeper or flatter than any power within
            text += f", {brentq(misfit, 0.01, 5.0):.2f}"
    return text


if __name__ == "__main__":
    main()
