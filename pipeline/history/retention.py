"""What is kept of earlier runs, and removing the rest: the section `retraining` of the configuration says how much.

Kept are
- versions: the newest `keep_versions`, the live one, and the baselines that the kept ones were compared with;
- artifacts and reports: of the newest `keep_runs` runs, and those of the runs behind kept versions, but for their
  examples, which are copies of the spans;
- spans: the newest `keep_spans`, those of the live version, and all that were not simulated here;
- the newest `keep_logs` logs, the newest checkpoints (of a training that was killed), and the metadata store.
"""

import dataclasses
import logging
import os
import shutil
from pathlib import Path

from blendinator.config import Config
from blendinator.data import spans as span_files
from blendinator.errors import DataError
from blendinator.files import leftover_folders, size
from blendinator.model import versions
from blendinator.model.live import list_versions, readable_facts
from blendinator.pipeline.history import metadata
from blendinator.pipeline.history.lineage import baselines
from blendinator.stores import ObjectPath, Place

log = logging.getLogger("blendinator.prune")


@dataclasses.dataclass(frozen=True)
class Expired:
    """What may go: its `kind` (version, artifact, report, span, log, checkpoint or leftover), path and bytes."""

    kind: str
    path: Place
    bytes: int


def plan(config: Config) -> list[Expired]:
    """What the policy no longer keeps, in the order in which `apply` removes it."""
    kept = kept_versions(config)
    expired = [("version", path) for path in list_versions(config.serving_dir) if path not in kept]
    expired += [("leftover", path) for path in leftover_folders(config.serving_dir)]
    stay = _kept_artifacts(config, kept)
    if stay is not None:
        folders, runs = stay
        expired += [("artifact", path) for path in _artifact_folders(config.pipeline_root) if path not in folders]
        # What TFX notes for itself while a component runs.
        expired += [("leftover", path) for path in sorted(config.pipeline_root.glob("*/.system/*/*"))]
        reports = Path(config.output_dir) / "reports"
        expired += [("report", path) for path in sorted(reports.glob("*")) if path.name not in runs]
    expired += [("span", path) for path in _expired_spans(config)]
    logs = sorted((Path(config.output_dir) / "logs").glob("run-*.log"), key=_age)
    # Not the log of this very run, which looks old after the clock was set back.
    expired += [
        ("log", path) for path in logs[: -config.retraining.keep_logs] if not path.stem.endswith(f"-{os.getpid()}")
    ]
    # Folders alone: a network's file system shows the scenes that a training maps as files beside them.
    checkpoints = sorted((path for path in config.checkpoint_root.glob("*") if path.is_dir()), key=_age)
    expired += [("checkpoint", path) for path in checkpoints[:-1]]
    return [Expired(kind, path, _bytes(path)) for kind, path in expired]


def apply(config: Config, expired: list[Expired]) -> None:
    """Removes what `plan` found, and marks the artifacts as deleted in the metadata store.

    To be called with the output folder's lock held.
    """
    _mark_deleted(config, [one.path for one in expired if one.kind == "artifact"])
    for one in expired:
        if one.kind == "version":
            versions.remove(one.path)
        elif one.kind == "span":
            span_files.remove_span(one.path)
        elif isinstance(one.path, ObjectPath):
            versions.clean(config.serving_dir)
        elif one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)


def prune(config: Config) -> list[Expired]:
    """Plans and applies; says how much went."""
    expired = plan(config)
    apply(config, expired)
    if expired:
        log.info("pruned %d items of earlier runs, %.1f MB", len(expired), sum(one.bytes for one in expired) / 1e6)
    return expired


def prune_versions(config: Config) -> list[Place]:
    """Removes the versions alone that the policy no longer keeps; after a push."""
    kept = kept_versions(config)
    expired = [path for path in list_versions(config.serving_dir) if path not in kept]
    for path in expired:
        versions.remove(path)
        log.info("version %s was removed: retraining.keep_versions is %d", path.name, config.retraining.keep_versions)
    return expired


def kept_versions(config: Config) -> set[Place]:
    """The versions that stay."""
    everything = list_versions(config.serving_dir)
    newest = everything[-config.retraining.keep_versions :]
    wanted = baselines(config, {path.name for path in newest})
    return {*newest, *(path for path in everything if path.name in wanted)}


def _kept_artifacts(config: Config, kept: set[Place]) -> tuple[set[Path], set[str]] | None:
    """Folders of artifacts that stay, and names of the reports' folders that do; None without a store."""
    if not Path(config.metadata_path).exists():
        return None
    store = metadata.open_store(config.metadata_path)
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    folders, names = set(), set()
    for context in runs[-config.retraining.keep_runs :]:
        names.add(context.name)
        folders |= {Path(artifact.uri) for artifact in store.get_artifacts_by_context(context.id)}
    wanted = {path.name for path in kept}
    for version, artifact in metadata.pushed_versions(store).items():
        if version not in wanted:
            continue
        folders.add(Path(artifact.uri))
        for execution, _ in metadata.producers(store, artifact):
            names |= metadata.runs_of(store, execution)
            ids = [event.artifact_id for event in store.get_events_by_execution_ids([execution.id])]
            folders |= {Path(one.uri) for one in store.get_artifacts_by_id(ids) if kinds[one.type_id] != "Examples"}
    return folders, {name.replace(":", "") for name in names}


def _artifact_folders(root: Path) -> list[Path]:
    """`<component>/<output>/<execution>` below the pipeline's root."""
    return sorted(
        path
        for path in root.glob("*/*/*")
        if path.is_dir() and path.parent.parent.name != ".system" and path.parent.name != ".system"
    )


def _expired_spans(config: Config) -> list[Place]:
    """Folders of simulated spans that no longer stay; they can be simulated again from their manifests."""
    if not config.retraining.keep_spans:
        return []
    numbers = span_files.list_spans(config.data_root)
    live = list_versions(config.serving_dir)[-1:]
    needed = set(numbers[-config.retraining.keep_spans :])
    for path in live:
        needed.update(readable_facts(path).get("spans", numbers))  # all, where the version does not say which
    found = []
    for span in numbers:
        folder = span_files.span_dir(config.data_root, span)
        try:
            simulated = bool(span_files.read_manifest(folder).get("simulation"))
        except DataError:
            simulated = False
        if span not in needed and simulated:
            found.append(folder)
    return found


def _mark_deleted(config: Config, folders: list[Place]) -> None:
    if not folders or not Path(config.metadata_path).exists():
        return
    from ml_metadata.proto import metadata_store_pb2 as proto

    store = metadata.open_store(config.metadata_path, write=True)
    gone = {str(path) for path in folders}
    marked = [one for one in store.get_artifacts() if one.uri in gone and one.state != proto.Artifact.DELETED]
    for artifact in marked:
        artifact.state = proto.Artifact.DELETED
    if marked:
        store.put_artifacts(marked)


def _bytes(path: Place) -> int:
    return size(path) if isinstance(path, ObjectPath) or path.is_dir() else path.stat().st_size


def _age(path: Path) -> float:
    return path.stat().st_mtime
