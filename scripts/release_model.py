"""Makes the released model from a pushed version: rounds, packs, and writes its card.

    python scripts/release_model.py VERSION_FOLDER [--boosted 1000] [--natural 6000]

The weights are rounded to bfloat16: half of each float32 is then zero, and what stands twice, in the SavedModel and in
the weights for warm starts, compresses to once. The card holds how far that moves the probabilities, and the metrics of
the rounded model on scenes that are simulated for this purpose. The intervals of fluxes and shapes in
`released/measures.json` hold for one model: fit them again with `benchmarks/measures.py`.
"""

import argparse
import dataclasses
import hashlib
import json
import lzma
import shutil
import tarfile
import tempfile
from pathlib import Path

import blendinator

# isort: split

import h5py
import numpy as np
import tensorflow as tf

from blendinator.components.calibration_evaluator import scoring
from blendinator.config_loader import config_from_dict
from blendinator.data.scene import Simulator
from blendinator.model import released
from blendinator.model.export import WEIGHTS_FILE
from blendinator.model.live import FACTS_FILE, read_facts
from blendinator.model.metrics import scenes
from blendinator.model.metrics.evaluation import evaluate_rows
from blendinator.model.metrics.headlines import HEADLINES

LARGEST = 6_000_000  # bytes
LEFT_OUT = ("fingerprint.pb", "tf_serving_warmup_requests")
SPAN = 900_002  # of the scenes; spans of a pipeline are counted from 1
BATCH, COMPARED, SAMPLES = 32, 128, 16
FACTS = ("config", "key", "code", "spans", "steps", "best_step", "seconds", "calibration", "averaged")
CARD = tuple(headline.name for headline in HEADLINES if headline.card)


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values to the nearest bfloat16, as float32; other types as they are."""
    return np.asarray(tf.cast(tf.cast(values, tf.bfloat16), tf.float32)) if values.dtype == np.float32 else values


def round_variables(folder: Path) -> None:
    """Rounds the variables of the SavedModel and of its weights file in place."""
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    names = sorted(reader.get_variable_to_shape_map())
    # Text, such as the object graph, stays bytes: an array of NumPy's would lose zeros at its end.
    values = [reader.get_tensor(name) for name in names]
    tensors = [tf.constant(value if isinstance(value, bytes) else rounded(np.asarray(value))) for value in values]
    shutil.rmtree(folder / "variables")
    (folder / "variables").mkdir()
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)

    def visit(_, item):
        if isinstance(item, h5py.Dataset) and item.dtype == np.float32:
            item[...] = rounded(np.asarray(item[...]))

    with h5py.File(folder / WEIGHTS_FILE, "r+") as file:
        file.visititems(visit)


def evaluate(ours: Path, theirs: Path, config, numbers: dict[str, int]) -> tuple[dict, dict]:
    """The metrics of the model in `ours`, and how far the probabilities of the model in `theirs` are from its own."""
    methods = [scoring.Sampler(str(folder)) for folder in (ours, theirs)]
    blocks, largest = [], 0.0
    for population, count in numbers.items():
        simulator = Simulator(
            dataclasses.replace(config.simulation, train_scenes=count, train_populations={population: 1.0})
        )
        for start in range(0, count, BATCH):
            batch = simulator.scenes(SPAN, range(start, min(start + BATCH, count)))
            blocks.append(scoring.score_batch(batch, methods[0], config.evaluation))
            if start < COMPARED:
                images = np.stack([scene["image"] for scene in batch])
                first, second = (method.sample(images, SAMPLES, 1)[1] for method in methods)
                largest = max(largest, float(np.abs(first - second).max()))
    report = evaluate_rows(scenes.concatenate(blocks), config.evaluation)
    return report, {"scenes": COMPARED * len(numbers), "largest": largest}


def pack(folder: Path, archive: Path) -> None:
    """The folder as `released/`, with the same bytes for the same files."""
    with lzma.open(archive, "wb", preset=9 | lzma.PRESET_EXTREME) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in LEFT_OUT:
                info = tar.gettarinfo(path, f"{released.NAME}/{path.relative_to(folder)}")
                info.mtime = info.uid = info.gid = 0
                info.uname, info.gname, info.mode = "", "", 0o644
                with open(path, "rb") as content:
                    tar.addfile(info, content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path)
    parser.add_argument("--boosted", type=int, default=1000)
    parser.add_argument("--natural", type=int, default=6000)
    given = parser.parse_args()
    facts = read_facts(given.version)
    config = config_from_dict(facts["config"], source=str(given.version))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / released.NAME
        shutil.copytree(given.version, folder)
        round_variables(folder)
        facts["config"]["output_dir"] = Path(
            facts["config"]["output_dir"]
        ).name  # the path of the disk is not part of the release
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        numbers = {"boosted": given.boosted, "natural": given.natural}
        report, moved = evaluate(folder, given.version, config, numbers)
        released.FOLDER.mkdir(exist_ok=True)
        archive = released.FOLDER / released.ARCHIVE
        pack(folder, archive)
    size = archive.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{archive}: {size} bytes; allowed: at most {LARGEST}")
    card = {
        "format": released.FORMAT,
        "name": f"{config.simulation.survey}-{blendinator.__version__}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "rounding": moved,
        "facts": {name: facts[name] for name in FACTS if name in facts},
        "metrics": {
            population: {"scenes": part["scenes"]} | {name: part["metrics"][name] for name in CARD}
            for population, part in report.items()
        },
    }
    (released.FOLDER / released.CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"{archive}: {size / 1e6:.2f} MB; rounding moved probabilities by {moved['largest']:.4f} at most")


if __name__ == "__main__":
    main()
