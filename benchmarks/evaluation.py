"""Time and memory of the evaluation against the number of scenes, on a pushed model.

    python benchmarks/evaluation.py output/serving/blendinator/VERSION 1000 10000

Each number runs in a process of its own: 16 samples per scene, classical baseline, bootstrap and pictures, as in the
pipeline; simulating the scenes and loading TensorFlow are not counted.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import blendinator  # noqa: F401  (settles the Keras version)


def evaluate(folder: Path, scenes: int) -> None:
    """Simulates `scenes` test scenes, evaluates the model in `folder` and prints one line of JSON."""
    from tfx.types import artifact_utils, standard_artifacts

    from blendinator.components.calibration_evaluator import executor
    from blendinator.config_loader import config_from_dict, config_to_dict
    from blendinator.data.simulate import simulate_span
    from blendinator.data.spans import span_dir

    config = config_from_dict({"simulation": {"train_scenes": 1, "calibration_scenes": 1, "test_scenes": scenes}})
    with tempfile.TemporaryDirectory() as scratch:
        simulate_span(config.simulation, scratch, 1)
        examples, candidate, evaluation, blessing = (
            kind()
            for kind in (
                standard_artifacts.Examples,
                standard_artifacts.Model,
                standard_artifacts.ModelEvaluation,
                standard_artifacts.ModelBlessing,
            )
        )
        examples.uri, evaluation.uri, blessing.uri = (os.path.join(scratch, name) for name in ("in", "out", "blessing"))
        candidate.uri = str(folder)
        examples.split_names = artifact_utils.encode_split_names(["test"])
        split = Path(artifact_utils.get_split_uri([examples], "test"))
        split.mkdir(parents=True)
        for file in span_dir(scratch, 1).glob("test-*"):
            os.link(file, split / file.name)
        context = executor.Executor.Context(tmp_dir=scratch, unique_id="1", beam_pipeline_args=[])
        start = time.perf_counter()
        executor.Executor(context).Do(
            {"examples": [examples], "model": [candidate]},
            {"evaluation": [evaluation], "blessing": [blessing]},
            {"config": json.dumps(config_to_dict(config)), "code": ""},
        )
        seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "scenes": scenes,
                "seconds": round(seconds, 1),
                "ms_per_scene": round(1000 * seconds / scenes, 1),
                "peak_MiB": round(memory),
            }
        ),
        flush=True,
    )


def main():
    folder, *numbers = sys.argv[1:]
    for number in numbers:
        if len(numbers) == 1:
            evaluate(Path(folder), int(number))
        else:
            subprocess.run(
                [sys.executable, "-W", "ignore", __file__, folder, number], check=True, stderr=subprocess.DEVNULL
            )


if __name__ == "__main__":
    main()
