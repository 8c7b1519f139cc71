"""Cost of a record on 1, 2 and 4 workers: simulation, SpanExampleGen's verification and copying, prediction.

    python benchmarks/workers.py [--workers 1 2 4] [--records 100 1000] [--folder /scratch]
    python benchmarks/workers.py --start [--workers 1 2 4]    what Beam's own worker processes take to start

A worker is a forked process that runs the Beam job on its share of the files, in memory: it costs no start and no
imports. Each job runs with few and with many records, and a further record costs the difference: what a worker does
once, such as loading the model, does not count. Efficiency is the processor time of a further record with one worker
over that with several: 100 % where workers neither repeat nor hinder each other's work. Wall time says the same only
where every worker has a core that nothing else uses. Ingestion, the cheapest, gets ten times the records, by links.

With --start, Beam's multi-processing starts the workers, as interpreters that import the package, and simulates a few
scenes on them.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import blendinator  # noqa: F401  first: it settles the version of Keras

# isort: split
from scaling import in_child, repeat_span, start_child

from blendinator.components.span_example_gen.executor import ingest
from blendinator.config import SimulationConfig
from blendinator.config_loader import config_from_dict
from blendinator.data.simulate import simulate_span
from blendinator.data.spans import span_dir
from blendinator.model import released
from blendinator.pipeline.bulk_inference import predict
from blendinator.stack import use_in_memory_runner

FILES = 4  # of the span that a worker reads
LINKS = 10  # times that a worker ingests each of them
NUM_SAMPLES = 16
IN_MEMORY = ("--runner=DirectRunner",)
JOBS = ("simulate", "SpanExampleGen", "predict")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--records", type=int, nargs=2, default=[100, 1000], metavar=("FEW", "MANY"))
    parser.add_argument("--jobs", choices=JOBS, nargs="+", default=list(JOBS))
    parser.add_argument("--start", action="store_true", help="measure the start of Beam's worker processes instead")
    parser.add_argument("--folder", help="for spans and predictions; by default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.start:
            for workers in arguments.workers:
                print(json.dumps({"workers": workers, **measure_start(folder, workers)}), flush=True)
            return
        rows = []
        for job in arguments.jobs:
            for records in arguments.records:
                for workers in arguments.workers:
                    shares = prepare(folder, job, records // workers, workers)
                    rows.append({"job": job, "records": records * (LINKS if job == "SpanExampleGen" else 1)})
                    rows[-1] |= {"workers": workers, **in_workers(shares, folder / f"{job}.log")}
                    shutil.rmtree(folder / "out", ignore_errors=True)
                    print(json.dumps(rows[-1]), flush=True)
        print_table(rows)


def measure_start(folder: Path, workers: int) -> dict:
    """A simulation of few scenes on Beam's own worker processes."""
    args = (*IN_MEMORY, f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing")
    found = in_child(
        lambda: simulate_span(configuration(100), folder / f"start-{workers}", 1, pipeline_args=args),
        folder / "start.log",
    )
    shutil.rmtree(folder / f"start-{workers}")
    return found


def prepare(folder: Path, job: str, records: int, workers: int) -> list[Callable]:
    """The function that each worker calls, after what it reads has been simulated."""
    config, data, out = configuration(records), folder / f"data-{records}", folder / "out"
    if job == "simulate":
        return [lambda i=i: simulate_span(config, out / str(i), i, pipeline_args=IN_MEMORY) for i in range(workers)]
    simulate_span(config, data, 1, workers=1)
    span, more = span_dir(data, 1), span_dir(folder / f"links-{records}", 1)
    if job == "SpanExampleGen":
        if not more.exists():
            repeat_span(span, more, LINKS)
        return [lambda i=i: ingest([more], out / str(i), config.stamp_size, IN_MEMORY) for i in range(workers)]
    model, files = released.unpack(cache=folder / "model"), [f"{span}/*.tfrecord.gz"]
    out.mkdir()
    return [
        lambda i=i: predict(files, out / str(i), model, NUM_SAMPLES, pipeline_args=IN_MEMORY) for i in range(workers)
    ]


def configuration(records: int) -> SimulationConfig:
    """A span of so many scenes of 64 x 64 pixels in all."""
    rest = max(1, records // 10)
    scenes = {"train_scenes": records - 2 * rest, "calibration_scenes": rest, "test_scenes": rest}
    return config_from_dict({"simulation": {**scenes, "scenes_per_shard": max(1, records // FILES)}}).simulation


def in_workers(shares: Sequence[Callable], log: Path) -> dict:
    """Runs each function in a forked process, all at once; seconds of wall time and of processor time in sum."""
    use_in_memory_runner()
    begun, cpu = time.perf_counter(), 0.0
    for child in [start_child(work, log) for work in shares]:
        _, status, usage = os.wait4(child, 0)
        if status:
            raise SystemExit(f"{log}: a worker failed; its log is there")
        cpu += usage.ru_utime + usage.ru_stime
    return {"wall": round(time.perf_counter() - begun, 1), "cpu": round(cpu, 2)}


def print_table(rows: list[dict]) -> None:
    """One line for each job and number of workers."""
    print(f"\n{'job':16}{'workers':>8}{'once, CPU s':>13}{'CPU ms/record':>15}{'efficiency':>12}{'wall ms/record':>16}")
    cells: dict = {}
    for row in rows:
        cells.setdefault((row["job"], row["workers"]), []).append(row)
    first: dict = {}
    for (job, workers), (few, many) in cells.items():
        cost, wall = (1000 * (many[key] - few[key]) / (many["records"] - few["records"]) for key in ("cpu", "wall"))
        efficiency, once = first.setdefault(job, cost) / cost, few["cpu"] - few["records"] * cost / 1000
        print(f"{job:16}{workers:8}{once:13.1f}{cost:15.2f}{efficiency:12.0%}{wall:16.2f}")


if __name__ == "__main__":
    main()
