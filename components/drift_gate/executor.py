"""The executor: reads both statistics, compares them, and stops or warns."""

import json
import logging
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from blendinator.components.artifacts import Artifacts
from blendinator.components.drift_gate import drift
from blendinator.config import DriftConfig
from blendinator.errors import DataError
from blendinator.model.live import RELEASED, STATISTICS_FILE, live_version

log = logging.getLogger("blendinator.drift")

SPLIT = "train"
REPORT = "drift.json"


class Executor(base_executor.BaseExecutor):
    """Executor of `DriftGate`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Compares; see `DriftGate` for the inputs, output and parameters.

        Raises:
          DataError: the data drifted and `action` is "stop".
        """
        config = DriftConfig(**json.loads(exec_properties["config"]))
        statistics = stats_artifact_utils.load_statistics(
            artifact_utils.get_single_instance(input_dict["statistics"]), SPLIT
        ).proto()
        live = artifact_utils.get_single_uri(input_dict["live_model"])
        reference = read_reference(live)
        found = drift.compare(statistics, reference, config) if reference and config.action != "off" else []
        lines = [drift.describe(entry) for entry in found if entry["drift"]]
        if not found:
            log.info("drift: nothing to compare with" if config.action != "off" else "drift: switched off")
        elif not lines:
            log.info("drift: none against version %s", live_version(live))

        artifact = artifact_utils.get_single_instance(output_dict["drift"])
        artifact.set_int_custom_property("drift", int(bool(lines)))
        Path(artifact.uri).mkdir(parents=True, exist_ok=True)
        report = {"version": live_version(live), "action": config.action, "comparisons": found}
        (Path(artifact.uri) / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        # The released model may be trained on another sky than the user's, which is reported and does not stop a run.
        if lines and config.action == "stop" and live_version(live) != RELEASED:
            listed = "\n".join(f"  {line}" for line in lines)
            raise DataError(
                f"The data differ from those that version {live_version(live)} was trained on:\n{listed}\n"
                "Nothing was trained or pushed. If the change is meant, run once with retraining.drift.action: warn; "
                "else look for what changed in the simulation and simulate the span again."
            )
        for line in lines:
            log.warning("drift: %s", line)


def read_reference(live_uri: str) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    """The statistics in the live model; None where there is no live model or an earlier version of the code made it."""
    path = Path(path_utils.serving_model_dir(live_uri)) / STATISTICS_FILE
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()) if path.is_file() else None
