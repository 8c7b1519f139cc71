"""Where a pushed version comes from, the list of versions, and the way back to an earlier one."""

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendinator.config import Config
from blendinator.data.population import LISTED
from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.model import versions
from blendinator.model.live import list_versions, readable_facts
from blendinator.model.metrics.headlines import HEADLINES
from blendinator.pipeline.history import metadata
from blendinator.stores import Place, place

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, ArtifactType

log = logging.getLogger("blendinator.versions")

FORMAT_VERSION = 1
METRICS = "metrics.json"
ORIGIN = "republished.json"  # beside the SavedModel of a version that a rollback made


def list_models(config: Config) -> list[dict]:
    """The pushed versions, the newest first.

    Returns:
      Dictionaries with `version`, `path`, `live` (whether a server serves it), `pushed` (ISO 8601, UTC), `spans`,
      `start` ("warm from 7" or "cold"), `republishes` (the version that it is a copy of, or None) and `metrics`
      ({"boosted iou_galaxy": value, ...}; {} where the evaluation is gone).
    """
    store = metadata.open_store(config.metadata_path) if Path(config.metadata_path).exists() else None
    records = metadata.pushed_versions(store) if store else {}
    found = []
    everything = list_versions(config.serving_dir)
    for path in reversed(everything):
        facts, artifact = readable_facts(path), records.get(path.name)
        spans = facts.get("spans")
        evaluation = {}
        if artifact is not None:
            sources = _sources(store, artifact)
            evaluation = _evaluation(sources)
            spans = spans or _spans(sources)
        start = facts.get("start", {})
        found.append(
            {
                "version": path.name,
                "path": str(path),
                "live": path == everything[-1],
                "pushed": _utc(
                    artifact.create_time_since_epoch / 1000
                    if artifact is not None
                    else (path / versions.MODEL).stat().st_mtime
                ),
                "spans": spans or [],
                "start": f"warm from {start['version']}" if start.get("kind") == "warm" else "cold",
                "republishes": _origin(path),
                "metrics": headlines(evaluation),
            }
        )
    return found


def lineage(config: Config, version: str) -> dict:
    """What made a version, from the metadata store.

    Returns:
      `version`, `path`, `pushed`, `republishes` (for a rollback), `run`, `spans`, `data_fingerprint`, `code`,
      `training_key`, `start`, `baseline` (the live version it was compared with), `metrics`, `rules` (those of the
      gate, with their verdicts), and `steps`: the executions behind it with `name`, `id`, `code` and `outputs` (type to
      folder).

    Raises:
      DataError: there is no metadata store.
      ModelError: no such version was ever pushed.
    """
    store = metadata.open_store(config.metadata_path)
    records = metadata.pushed_versions(store)
    if version not in records:
        raise ModelError(
            f"version: received {version!r}; allowed: one that was pushed "
            f"({', '.join(records) or 'there is none yet'}). See `blendinator models`."
        )
    artifact = records[version]
    sources = _sources(store, artifact)
    evaluation = _evaluation(sources)
    trainer = next((one for one in sources if one["name"] == "Trainer"), {})
    custom = json.loads(trainer.get("properties", {}).get("custom_config") or "{}")
    path = place(artifact.custom_properties["pushed_destination"].string_value)
    facts = readable_facts(path)
    return {
        "format_version": FORMAT_VERSION,
        "version": version,
        "path": str(path) if path.exists() else None,
        "pushed": _utc(artifact.create_time_since_epoch / 1000),
        "republishes": artifact.custom_properties["republishes"].string_value or None,
        "run": _run_of(store, sources),
        "spans": facts.get("spans") or _spans(sources),
        "data_fingerprint": custom.get("data"),
        "code": custom.get("code"),
        "training_key": facts.get("key"),
        "start": facts.get("start", {}),
        "baseline": evaluation.get("live_version"),
        "metrics": headlines(evaluation),
        "rules": evaluation.get("thresholds", []) + evaluation.get("relative", []),
        "steps": [
            {"name": one["name"], "id": one["id"], "code": one["properties"].get("code", ""), "outputs": one["outputs"]}
            for one in sources
        ],
    }


def baselines(config: Config, names: set[str]) -> set[str]:
    """The versions that versions of these names were compared with or started from."""
    found = {str(readable_facts(config.serving_dir / name).get("start", {}).get("version")) for name in names}
    if Path(config.metadata_path).exists():
        store = metadata.open_store(config.metadata_path)
        for name, artifact in metadata.pushed_versions(store).items():
            if name in names:  # a model that was not allowed a warm start tells its baseline here only
                found.add(str(_evaluation(_sources(store, artifact)).get("live_version")))
    return found - {"None"}


def headlines(evaluation: dict) -> dict[str, float | None]:
    """The metrics of `metrics.json` that a list has room for, of the population `LISTED`."""
    found = {}
    metrics = evaluation.get("populations", {}).get(LISTED, {}).get("metrics", {})
    for headline in HEADLINES:
        if headline.listed and metrics.get(headline.name):
            found[f"{LISTED} {headline.name}"] = metrics[headline.name]["value"]
    return found


def rollback(config: Config, version: str | None = None) -> Place:
    """Makes an earlier version live again: publishes it again under a new, higher number.

    A server that serves the highest number changes over by itself and never finds the folder without a whole version;
    the version that failed stays for inspection, below the live one. Recorded in the metadata store as an execution of
    type Rollback.

    Args:
      config: tells the folders.
      version: which one; by default the newest one that holds another model than the live one.

    Returns:
      The new version's folder.

    Raises:
      DataError: nothing was pushed yet, or there is no earlier model.
      ConfigError: no such version is there.
    """
    everything = list_versions(config.serving_dir)
    if not everything:
        raise DataError(f"{config.serving_dir}: there is no pushed version. Run the pipeline first.")
    live = everything[-1]
    if version is None:
        earlier = [path for path in everything[:-1] if model_digest(path) != model_digest(live)]
        if not earlier:
            raise DataError(
                f"{config.serving_dir}: version {live.name} is the only model there; nothing to go back to."
            )
        source = earlier[-1]
    else:
        chosen = next((path for path in everything if path.name == version), None)
        if chosen is None:
            raise ConfigError(f"version: received {version!r}; allowed: {', '.join(path.name for path in everything)}")
        source = chosen
        if model_digest(source) == model_digest(live):
            raise ConfigError(
                f"version: received {version!r}, which is the live model already; allowed: another one of "
                f"{', '.join(path.name for path in everything)}"
            )
    origin = _origin(source) or source.name
    target = versions.publish(source, config.serving_dir, again=True, notes={ORIGIN: {"version": origin}})
    _record_rollback(config, live.name, origin, target)
    return target


def model_digest(path: Place) -> str:
    """Digest of a version's model, whether published once or again."""
    return versions.digest(path, leave_out=ORIGIN)


def _record_rollback(config: Config, from_version: str, to_version: str, target: Place) -> None:
    if not Path(config.metadata_path).exists():
        log.warning("%s: there is no metadata store, so the rollback is not recorded", config.metadata_path)
        return
    from ml_metadata.errors import AbortedError, InternalError
    from ml_metadata.proto import metadata_store_pb2 as proto

    for attempt in range(10):
        try:
            store = metadata.open_store(config.metadata_path, write=True)
            kind = store.put_execution_type(proto.ExecutionType(name="Rollback"))
            execution = proto.Execution(type_id=kind, last_known_state=proto.Execution.COMPLETE)
            execution.custom_properties["from_version"].string_value = from_version
            execution.custom_properties["to_version"].string_value = to_version
            source = metadata.pushed_versions(store).get(to_version)
            pushed = proto.Artifact(
                type_id=store.put_artifact_type(_pushed_type(store)), uri=str(target), state=proto.Artifact.LIVE
            )
            pushed.custom_properties["pushed"].int_value = 1
            pushed.custom_properties["pushed_destination"].string_value = str(target)
            pushed.custom_properties["pushed_version"].string_value = target.name
            pushed.custom_properties["republishes"].string_value = to_version
            events = [(pushed, proto.Event(type=proto.Event.OUTPUT))]
            if source is not None:
                events.insert(0, (source, proto.Event(type=proto.Event.INPUT)))
            store.put_execution(execution, events, contexts=[])
            return
        except (AbortedError, InternalError) as error:  # the run that is going on writes at this moment
            if attempt == 9:
                log.warning(
                    "the rollback took effect, but could not be recorded in %s (%s)", config.metadata_path, error
                )
            time.sleep(0.5)


def _pushed_type(store: "MetadataStore") -> "ArtifactType":
    from ml_metadata.proto import metadata_store_pb2 as proto

    names = {kind.name: kind for kind in store.get_artifact_types()}
    return names.get(metadata.PUSHED_MODEL) or proto.ArtifactType(name=metadata.PUSHED_MODEL)


def _sources(store: "MetadataStore", artifact: "Artifact") -> list[dict[str, Any]]:
    """The executions behind an artifact as dictionaries; of a republished version, those of its origin."""
    from ml_metadata.proto import metadata_store_pb2 as proto

    kinds = {kind.id: kind.name.rsplit(".", 1)[-1] for kind in store.get_execution_types()}
    artifact_kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    outputs = (proto.Event.OUTPUT, proto.Event.DECLARED_OUTPUT)
    found = []
    for execution, _ in metadata.producers(store, artifact):
        ids = [
            event.artifact_id for event in store.get_events_by_execution_ids([execution.id]) if event.type in outputs
        ]
        made = store.get_artifacts_by_id(ids)
        found.append(
            {
                "name": kinds[execution.type_id],
                "id": execution.id,
                "execution": execution,
                "properties": {key: value.string_value for key, value in execution.custom_properties.items()},
                "outputs": {artifact_kinds[one.type_id]: one.uri for one in made},
                "made": {artifact_kinds[one.type_id]: one for one in made},
            }
        )
    return found


def _evaluation(sources: list[dict[str, Any]]) -> dict:
    folder = next(
        (one["outputs"].get("ModelEvaluation") for one in sources if one["name"] == "CalibrationEvaluator"), None
    )
    path = Path(folder) / METRICS if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}


def _spans(sources: list[dict[str, Any]]) -> list[int]:
    examples = next((one["made"].get("Examples") for one in sources if one["name"] == "SpanExampleGen"), None)
    text = examples.custom_properties["spans"].string_value if examples is not None else ""
    return [int(one) for one in text.split(",")] if text else []


def _run_of(store: "MetadataStore", sources: list[dict[str, Any]]) -> str | None:
    """Name of the run that trained the model."""
    trainer = next((one for one in sources if one["name"] == "Trainer"), None)
    return min(metadata.runs_of(store, trainer["execution"]), default=None) if trainer else None


def _origin(path: Place) -> str | None:
    notes = path / ORIGIN
    return json.loads(notes.read_text(encoding="utf-8"))["version"] if notes.is_file() else None


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
