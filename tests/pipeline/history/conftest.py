"""Output folders with runs in them, on a metadata store that is written directly."""

import dataclasses
import json
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

from blendinator.config import Config, RetrainingConfig
from blendinator.data import spans
from blendinator.model.live import FACTS_FILE, list_versions

RULE = {
    "metric": "iou_galaxy",
    "population": "boosted",
    "slice": "",
    "bound": "value",
    "min": 0.5,
    "max": None,
    "value": 0.8,
    "low": 0.7,
    "high": 0.9,
    "scenes": 100,
    "passed": True,
    "reason": "passed",
}


def open_store(path):
    """A store for reading and writing; a new one where there is none."""
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    return metadata_store.MetadataStore(connection)


class Output:
    """An output folder with runs, as the pipeline leaves them."""

    def __init__(self, folder: Path, **retraining):
        self.config = dataclasses.replace(Config(), output_dir=str(folder), retraining=RetrainingConfig(**retraining))
        folder.mkdir(parents=True, exist_ok=True)
        self.store = open_store(self.config.metadata_path)
        self.names = []

    def execution(self, name, context, inputs, outputs, state=proto.Execution.COMPLETE, **properties):
        """Publishes an execution; outputs: {type: (folder, custom properties)} -> {type: artifact}."""
        kind = self.store.put_execution_type(proto.ExecutionType(name=f"components.{name}"))
        execution = proto.Execution(type_id=kind, last_known_state=state)
        for key, value in properties.items():
            execution.custom_properties[key].string_value = value
        pairs = [(artifact, proto.Event(type=proto.Event.INPUT)) for artifact in inputs]
        made = {}
        for type_name, (folder, custom) in outputs.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "data").write_text("x" * 1000)
            artifact = proto.Artifact(
                type_id=self.store.put_artifact_type(proto.ArtifactType(name=type_name)),
                uri=str(folder),
                state=proto.Artifact.LIVE,
            )
            for key, value in custom.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[key], field, value)
            made[type_name] = artifact
            pairs.append((artifact, proto.Event(type=proto.Event.OUTPUT)))
        _, artifact_ids, _ = self.store.put_execution(execution, pairs, [context])
        for artifact, artifact_id in zip([pair[0] for pair in pairs], artifact_ids):
            artifact.id = artifact_id
        return made

    def run(self, number, span, baseline=None, pushed=True):
        """A run on one span; pushes version `number`."""
        kind = self.store.put_context_type(proto.ContextType(name="pipeline_run"))
        context = proto.Context(type_id=kind, name=f"2026-01-{number:02d}T10:00:00")
        [context.id] = self.store.put_contexts([context])
        self.names.append(context.name)
        root = self.config.pipeline_root
        ingested = self.execution(
            "SpanExampleGen",
            context,
            [],
            {"Examples": (root / "SpanExampleGen" / "examples" / str(number), {"spans": str(span)})},
        )
        trained = self.execution(
            "Trainer",
            context,
            [ingested["Examples"]],
            {"Model": (root / "Trainer" / "model" / str(number), {})},
            custom_config=json.dumps({"data": f"data{span}", "code": "code1"}),
        )
        evaluated = self.execution(
            "CalibrationEvaluator",
            context,
            [ingested["Examples"], trained["Model"]],
            {
                "ModelEvaluation": (root / "CalibrationEvaluator" / "evaluation" / str(number), {}),
                "ModelBlessing": (root / "CalibrationEvaluator" / "blessing" / str(number), {}),
            },
        )
        metrics = {
            "populations": {"boosted": {"metrics": {"iou_galaxy": {"value": 0.8 + number / 1000}}}},
            "live_version": baseline,
            "thresholds": [RULE],
        }
        (Path(evaluated["ModelEvaluation"].uri) / "metrics.json").write_text(json.dumps(metrics))
        destination = self.config.serving_dir / str(number)
        custom = {"pushed": int(pushed)}
        if pushed:
            custom |= {"pushed_version": str(number), "pushed_destination": str(destination)}
            (destination / FACTS_FILE).parent.mkdir(parents=True)
            (destination / "saved_model.pb").write_text(f"model {number}")
            start = {"kind": "cold", "reason": "there is no live model"}
            if baseline:
                start = {"kind": "warm", "version": baseline}
            (destination / FACTS_FILE).write_text(json.dumps({"key": f"key{number}", "spans": [span], "start": start}))
        self.execution(
            "Pusher",
            context,
            [trained["Model"], evaluated["ModelBlessing"]],
            {"PushedModel": (root / "Pusher" / "pushed_model" / str(number), custom)},
        )
        report = Path(self.config.output_dir) / "reports" / context.name.replace(":", "")
        report.mkdir(parents=True)
        folder = spans.span_dir(self.config.data_root, span)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / spans.MANIFEST).write_text(
            json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}, "simulation": {"seed": 1}})
        )

    def versions(self):
        return [int(path.name) for path in list_versions(self.config.serving_dir)]


@pytest.fixture
def rule():
    """The rule that every run has passed."""
    return RULE


@pytest.fixture
def make_output(tmp_path):
    """An output folder without runs, for keys of `retraining`."""
    return lambda **retraining: Output(tmp_path / "output", **retraining)


@pytest.fixture
def output(make_output):
    """Three runs that pushed versions 1, 2 and 3, each warm from the one before."""
    made = make_output()
    for number in (1, 2, 3):
        made.run(number, span=number, baseline=str(number - 1) if number > 1 else None)
    return made


@pytest.fixture
def many_runs(make_output):
    """Makes six runs, each warm from the one before, for keys of `retraining`."""

    def make(**retraining):
        made = make_output(**retraining)
        for number in range(1, 7):
            made.run(number, span=number, baseline=str(number - 1) if number > 1 else None)
        return made

    return make
