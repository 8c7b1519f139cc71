"""What a whole retraining takes beside simulation and training, by component.

    python benchmarks/overhead.py               2,000 scenes, default network, 60 cold and 30 warm steps: some 5 minutes

Two `blendinator run`s in fresh processes: of span 1, which starts cold, and of span 2, which starts warm and is
compared with the first model. The table is made from their logs. The Trainer's share is what its training loop did not
take.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from blendinator.model.live import list_versions, read_facts
from blendinator.pipeline import exit_codes
from blendinator.pipeline.history import run_log

SCENES = {"train_scenes": 1481, "calibration_scenes": 222, "test_scenes": 297}  # 2,000 in the default's proportions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="training steps of the cold start")
    parser.add_argument("--folder", help="output folder; by default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "output_dir": str(folder / "output"),
            "simulation": SCENES,
            "training": {"steps": arguments.steps, "evaluate_every": arguments.steps},
            # Whatever it is worth, it is to be pushed.
            "evaluation": {
                "thresholds": [{"metric": "iou_galaxy", "min": 0.0}],
                "relative": [{"metric": "ged", "margin": 1e6}],
            },
        }
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        rows = [measure(config, folder / "output", span) for span in (1, 2)]
        print(f"{'':24} {'cold':>8} {'warm':>8}   seconds")
        for name in rows[0]:
            print(f"{name:24} " + " ".join(f"{row.get(name, float('nan')):8.1f}" for row in rows))
        print(f"{'sum':24} " + " ".join(f"{sum(row.values()):8.1f}" for row in rows))


def measure(config: Path, output: Path, span: int) -> dict[str, float]:
    """Simulates a span and runs the pipeline on it; seconds by part."""
    call = [sys.executable, "-m", "blendinator.pipeline.cli"]
    subprocess.run([*call, "simulate", "--config", config, "--span", str(span)], check=True, capture_output=True)
    started = time.time()
    process = subprocess.run([*call, "run", "--config", config, "--spans", str(span)], capture_output=True, text=True)
    ended = time.time()
    if process.returncode not in (exit_codes.OK, exit_codes.NOT_PUSHED):
        raise SystemExit(process.stdout + process.stderr)
    entry = run_log.read(output)[-1]
    stamps = components(Path(entry["log"]))
    found = {"until the first component": stamps[0][1] - started}
    for name, begun, finished in stamps:
        found[name] = finished - begun
    facts = read_facts(list_versions(output / "serving" / "blendinator")[-1])
    found["Trainer"] -= facts["seconds"]
    found["report, summary, exit"] = ended - stamps[-1][2]
    print(json.dumps({"span": span, "start": facts["start"]["kind"], "training loop": facts["seconds"]}), flush=True)
    return found


def components(log: Path) -> list[tuple[str, float, float]]:
    """Name, begin and end of each component, from a run's log."""
    pattern = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d+) INFO absl: Component (\S+) is (running|finished)\.")
    begun, found = {}, []
    for line in log.read_text(errors="replace").splitlines():
        match = pattern.match(line)
        if match:
            moment = time.mktime(time.strptime(match[1], "%Y-%m-%d %H:%M:%S")) + int(match[2]) / 1000
            if match[4] == "running":
                begun[match[3]] = moment
            else:
                found.append((match[3], begun[match[3]], moment))
    return found


if __name__ == "__main__":
    main()
