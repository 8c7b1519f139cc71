"""The executor: hands a few test records and the model to a fresh process, and to a server if one is required."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from blendinator.components.artifacts import Artifacts
from blendinator.components.export_check import triton
from blendinator.config import ServingConfig
from blendinator.data import records
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import DataError

log = logging.getLogger("blendinator.export_check")

SPLIT = "test"
REPORT = "report.json"
NUM_RECORDS = 8
TIMEOUT = 1200  # seconds; a load that hangs must not hold up the run for ever


class Executor(base_executor.BaseExecutor):
    """Executor of `ExportCheck`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Checks the export; see `ExportCheck` for the inputs, outputs and parameters.

        A model that fails is not blessed; that is not an error of the run.

        Raises:
          DataError: the test split has no records, or the process of the check was killed.
          ConfigError: Triton is required and not installed.
          ServiceError: Triton did not start, or did not answer.
        """
        serving = ServingConfig(**json.loads(exec_properties["serving"]))
        model = artifact_utils.get_single_instance(input_dict["model"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        Path(blessing.uri).mkdir(parents=True, exist_ok=True)
        chosen = choose_records(Path(examples.uri) / f"Split-{SPLIT}")
        report = check_export(
            path_utils.serving_model_path(model.uri),
            chosen,
            exec_properties["stamp_size"],
            exec_properties["num_samples"],
            exec_properties["seed"],
            serving,
        )

        reason = "; ".join(f"{check['name']}: {check['detail']}" for check in report["checks"] if not check["passed"])
        blessed = bool(report["checks"]) and not reason
        (Path(blessing.uri) / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        # The names and the property that TFX's InfraValidator writes and Pusher reads.
        (Path(blessing.uri) / ("INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED")).touch()
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_string_custom_property("reason", reason)
        log.info("export check: %d checks, %s", len(report["checks"]), reason or "all passed")


def choose_records(folder: Path, count: int = NUM_RECORDS) -> list[bytes]:
    """Serialized records of a split, those with blends first: on an empty stamp all samples may agree.

    Reads no more than the first file, unless that has too few records. Raises DataError when there are none.
    """
    blended, plain = [], []
    for path in sorted(folder.glob("*")):
        for serialized in read_records(path):
            kept = blended if records.decode(serialized)["blended_share"] > 0 else plain
            if len(kept) < count:
                kept.append(serialized)
        if len(blended) + len(plain) >= count:
            break
    chosen = (blended + plain)[:count]
    if not chosen:
        raise DataError(f"{folder}: no records in the split '{SPLIT}'. Ingest a span that has some.")
    return chosen


def check_export(
    model_dir: str, serialized: list[bytes], stamp_size: int, num_samples: int, seed: int, serving: ServingConfig
) -> dict:
    """Runs `signatures.py` in a fresh process and returns its report; a process that fails is a failed check.

    With `serving.infra_check: triton`, a model that passes is then served by Triton, and its answers are compared.

    Raises DataError when the process was killed from outside, as it is when the memory runs out; ConfigError and
    ServiceError as `triton.serve`.

    Args:
      model_dir: folder of the SavedModel.
      serialized: serialized records.
      stamp_size: pixels per side.
      num_samples: samples behind `serving_default`.
      seed: their seed.
      serving: what else is checked.
    """
    script = Path(__file__).with_name("signatures.py")
    with tempfile.TemporaryDirectory() as scratch:
        framed, report, answers = (Path(scratch) / name for name in ("records.tfrecord", REPORT, "answers.npz"))
        framed.write_bytes(b"".join(map(frame_record, serialized)))
        # -I keeps the project's folder off sys.path: the script sees installed packages only.
        command = [
            sys.executable,
            "-I",
            str(script),
            model_dir,
            str(framed),
            str(report),
            str(answers),
            str(stamp_size),
            str(num_samples),
            str(seed),
        ]
        try:
            process = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                cwd=scratch,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        except subprocess.TimeoutExpired:
            return failed(f"the process did not end within {TIMEOUT} s")
        if process.returncode in (-signal.SIGKILL, -signal.SIGTERM):  # from outside: it says nothing about the model
            raise DataError(
                f"{model_dir}: the process of the export check was ended by signal {-process.returncode}, "
                "perhaps because the memory was used up. Free some memory, then run again."
            )
        if process.returncode or not report.exists():
            log.debug("export check: stderr of the process:\n%s", process.stderr)
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            return failed(f"the process ended with code {process.returncode}: {last}")
        found = json.loads(report.read_text(encoding="utf-8"))
        if serving.infra_check == "triton" and all(check["passed"] for check in found["checks"]):
            found["checks"] += check_with_triton(model_dir, answers, num_samples, seed, serving)
        return found


def check_with_triton(model_dir: str, answers: Path, num_samples: int, seed: int, serving: ServingConfig) -> list[dict]:
    """Serves the model by Triton and compares its answers with those that `signatures.py` wrote to `answers`."""
    begun = time.monotonic()
    with np.load(answers) as arrays:
        image = arrays["image"]
        expected: dict = {signature: {} for signature in triton.MODELS}
        for key in set(arrays) - {"image"}:
            signature, name = key.split("/")
            expected[signature][name] = arrays[key]
    with triton.serve(serving.triton_python, model_dir, serving.triton_timeout) as url:
        log.info("export check: Triton was ready after %.0f s", time.monotonic() - begun)
        checks = triton.check_served(url, image, expected, num_samples, seed)
    log.info("export check: Triton took %.0f s in all", time.monotonic() - begun)
    return checks


def failed(detail: str) -> dict:
    """The report of a process that gave none."""
    return {"checks": [{"name": "process", "passed": False, "detail": detail}]}
