"""Averages the weights of two pushed versions of one network, calibrates the result again, and exports it.

    python scripts/average_models.py VERSION START --share 0.3 --examples FOLDER --transform FOLDER --output FOLDER

A network that was trained further on another sky, and the one that it started from, often lie in one valley of the
loss: the mean of their weights keeps much of what each does better, at no cost (Wortsman et al. 2022, arXiv:2109.01903,
"Robust fine-tuning of zero-shot models"). Transform graph, settings and facts are those of VERSION.
"""

import argparse
from pathlib import Path

import blendinator

# isort: split

import tensorflow_transform as tft

from blendinator.config_loader import config_from_dict
from blendinator.model.export import WEIGHTS_FILE, export
from blendinator.model.input_data import load_normalise, load_scenes
from blendinator.model.live import read_facts
from blendinator.model.monitors import make_monitor
from blendinator.model.recalibration import recalibrate
from blendinator.model.trainer import build_model, keep_statistics, split_held_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path, help="folder of the version that was trained further")
    parser.add_argument("start", type=Path, help="folder of the version that it started from")
    parser.add_argument("--share", type=float, required=True, help="weight of VERSION in the mean, 0 to 1")
    parser.add_argument("--examples", type=Path, required=True, help="its ingested examples, with Split-calibration")
    parser.add_argument("--transform", required=True, help="its transform graph")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if not 0.0 <= given.share <= 1.0:
        parser.error(f"--share: received {given.share:g}; allowed: 0 to 1")
    facts, other = read_facts(given.version), read_facts(given.start)
    if facts["config"]["model"] != other["config"]["model"]:
        parser.error(f"{given.start}: its network is not that of {given.version}")
    config = config_from_dict(facts["config"], source=str(given.version))
    model, weights = build_model(config), []
    for folder in (given.start, given.version):
        model.load_weights(folder / WEIGHTS_FILE)
        weights.append(model.get_weights())
    model.set_weights([(1.0 - given.share) * one + given.share * two for one, two in zip(*weights)])
    model.reset_calibration()
    held_out = load_scenes([str(given.examples / "Split-calibration" / "*")], config.simulation.stamp_size)
    stopping, calibration = split_held_out(held_out, config)
    normalise = load_normalise(given.transform)
    facts["calibration"] = recalibrate(model, calibration, normalise, config.training.seed)
    facts["monitors"] = make_monitor(model, normalise, config.training.seed)(stopping)
    facts["averaged"] = {"share": given.share, "start": other.get("key"), "code": blendinator.__version__}
    export(
        model,
        tft.TFTransformOutput(given.transform),
        str(given.output),
        default_draws=config.evaluation.num_samples,
        default_seed=config.evaluation.seed,
        stamp_size=config.simulation.stamp_size,
        facts=facts,
    )
    keep_statistics([str(given.examples / "Split-train" / "*")], given.output)


if __name__ == "__main__":
    main()
