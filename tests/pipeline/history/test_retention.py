"""What is kept of earlier runs, and what is removed."""

import dataclasses
import json
import os
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as proto

from blendinator.config import Config
from blendinator.data import spans
from blendinator.files import INCOMING
from blendinator.model.live import FACTS_FILE
from blendinator.pipeline.history import lineage, retention


def expired_names(output, kind):
    return sorted(one.path.name for one in retention.plan(output.config) if one.kind == kind)


def test_newest_versions_and_their_baselines_stay(many_runs):
    output = many_runs(keep_versions=2)
    assert expired_names(output, "version") == ["1", "2", "3"]  # 6 and 5 stay, and 4, with which 5 was compared
    assert [path.name for path in retention.prune_versions(output.config)] == ["1", "2", "3"]
    assert output.versions() == [4, 5, 6]


def test_a_baseline_that_only_the_evaluation_tells_stays_too(many_runs):
    output = many_runs(keep_versions=1)
    facts = output.config.serving_dir / "6" / FACTS_FILE
    facts.write_text(json.dumps({"start": {"kind": "cold", "reason": "it is switched off"}}))
    assert expired_names(output, "version") == ["1", "2", "3", "4"]


def test_artifacts_of_old_runs_go_but_for_those_behind_kept_versions(many_runs):
    output = many_runs(keep_versions=2, keep_runs=1)
    orphan = output.config.pipeline_root / "Trainer" / "model" / "99"  # of a run that was killed
    orphan.mkdir()
    going = {
        str(one.path.relative_to(output.config.pipeline_root))
        for one in retention.plan(output.config)
        if one.kind == "artifact"
    }
    everything = {
        f"{folder}/{number}"
        for number in range(1, 7)
        for folder in (
            "SpanExampleGen/examples",
            "Trainer/model",
            "CalibrationEvaluator/evaluation",
            "CalibrationEvaluator/blessing",
            "Pusher/pushed_model",
        )
    }
    kept = {name for name in everything if name.endswith(("4", "5", "6")) and not name.startswith("SpanExampleGen")}
    assert everything - going == kept | {"SpanExampleGen/examples/6"}
    assert going - everything == {"Trainer/model/99"}
    assert expired_names(output, "report") == [f"2026-01-{number:02d}T100000" for number in (1, 2, 3)]


def test_pruning_is_marked_in_the_metadata_and_leaves_nothing_to_prune(many_runs):
    output = many_runs(keep_versions=1, keep_runs=1)
    expired = retention.prune(output.config)
    assert expired and not any(one.path.exists() for one in expired)
    assert retention.plan(output.config) == []
    states = {Path(one.uri): one.state for one in output.store.get_artifacts()}
    assert all((state == proto.Artifact.DELETED) == (not path.exists()) for path, state in states.items())
    assert lineage.lineage(output.config, "1")["spans"] == [1]  # the record outlives the files
    assert lineage.lineage(output.config, "6")["metrics"]


def test_spans(make_output, many_runs):
    output = many_runs(keep_spans=2)
    own = spans.span_dir(output.config.data_root, 1) / spans.MANIFEST
    own.write_text(json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}}))  # a user's
    assert expired_names(output, "span") == ["span-0002", "span-0003", "span-0004"]
    lineage.rollback(output.config, "3")
    assert expired_names(output, "span") == ["span-0002", "span-0004"]  # 3 is the live version's
    assert expired_names(make_output(keep_spans=0), "span") == []


def test_logs_checkpoints_and_leftovers(many_runs):
    output = many_runs(keep_logs=2)
    folder = Path(output.config.output_dir)
    (folder / "logs").mkdir()
    for number in range(4):
        (folder / "logs" / f"run-{number}.log").touch()
        os.utime(folder / "logs" / f"run-{number}.log", (number, number))
        (folder / "checkpoints" / str(number)).mkdir(parents=True)
    (folder / "logs" / "runs.jsonl").touch()
    (output.config.serving_dir / (INCOMING + "7")).mkdir()
    (output.config.pipeline_root / "Trainer" / ".system" / "executor_execution" / "3").mkdir(parents=True)
    assert expired_names(output, "log") == ["run-0.log", "run-1.log"]
    (folder / "logs" / "run-0.log").rename(folder / "logs" / f"run-0-{os.getpid()}.log")  # ours; the clock went back
    assert expired_names(output, "log") == ["run-1.log"]
    assert len(expired_names(output, "checkpoint")) == 3
    assert expired_names(output, "leftover") == [".incoming-7", "3"]


def test_nothing_has_run(tmp_path):
    config = dataclasses.replace(Config(), output_dir=str(tmp_path))
    assert retention.plan(config) == [] and lineage.list_models(config) == []
