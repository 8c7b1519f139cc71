"""How often DriftGate's comparison calls same-distribution spans drifted, and whether it finds spans that are.

    python benchmarks/drift.py                      20 spans of 1,000 scenes, and changed ones: some 5 minutes

One span is the reference. For each other one, the largest difference in units of its limit is printed: above 1 is
drift.
"""

import argparse
import dataclasses
import logging
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import blendinator  # noqa: F401  settles the Keras version

# isort: split

import tensorflow_data_validation as tfdv

from blendinator.components.drift_gate import drift
from blendinator.config import Config
from blendinator.data.simulate import simulate_span
from blendinator.data.spans import span_dir

CHANGES = {
    "noise x 1.3": {"noise_scale": 1.3},
    "noise x 1.1": {"noise_scale": 1.1},
    "noise x 1.03": {"noise_scale": 1.03},
    "PSF x 1.2": {"psf_scale": 1.2},
    "PSF x 1.1": {"psf_scale": 1.1},
    "PSF x 1.03": {"psf_scale": 1.03},
    "boosted share 0.8 to 0.5": {"train_populations": {"boosted": 0.5, "natural": 0.5}},
    "Euclid deep": {"survey": "euclid_deep"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000, help="training scenes of a span")
    parser.add_argument("--spans", type=int, default=20, help="same-distribution spans")
    parser.add_argument("--stamp-size", type=int, default=64)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    base = dataclasses.replace(
        Config().simulation,
        train_scenes=arguments.scenes,
        calibration_scenes=1,
        test_scenes=1,
        stamp_size=arguments.stamp_size,
    )
    with tempfile.TemporaryDirectory() as scratch:
        reference = statistics(base, Path(scratch), 1)
        alarms = 0
        for span in range(2, 2 + arguments.spans):
            alarms += show(f"same, span {span}", statistics(base, Path(scratch), span), reference)
        print(f"same distribution: {alarms} of {arguments.spans} spans called drifted", flush=True)
        for number, (label, change) in enumerate(CHANGES.items(), 100):
            show(label, statistics(dataclasses.replace(base, **change), Path(scratch), number), reference)


def statistics(simulation, folder: Path, span: int):
    """TFDV's statistics of a new span's training split."""
    simulate_span(simulation, folder, span, workers=1)
    return tfdv.generate_statistics_from_tfrecord(str(span_dir(folder, span) / "train-*"))


def show(label: str, new, reference) -> bool:
    """Prints the comparisons; returns whether there is drift."""
    found = drift.compare(new, reference, Config().retraining.drift)
    ratios = sorted(((abs(one["difference"]) / one["limit"], one) for one in found), key=lambda pair: -pair[0])
    text = ", ".join(f"{one['feature']} {one['measure']} {ratio:.2f}" for ratio, one in ratios[:4])
    drifted = any(one["drift"] for one in found)
    print(f"{label:26} {'DRIFT' if drifted else 'none':6} {text}", flush=True)
    return drifted


if __name__ == "__main__":
    main()
