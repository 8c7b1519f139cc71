"""A pushed version that is damaged: the run says so before it trains, the commands go on, and rollback helps."""

import dataclasses
import json
import shutil

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from blendinator.components.live_model import executor
from blendinator.config import Config, RetrainingConfig
from blendinator.data import spans
from blendinator.errors import ModelError
from blendinator.model.live import FACTS_FILE, find_live, list_versions
from blendinator.pipeline.history import lineage, retention


def push(config, number, key):
    folder = config.serving_dir / str(number)
    (folder / "variables").mkdir(parents=True)
    for name in ("variables.index", "variables.data-00000-of-00001"):
        (folder / "variables" / name).write_bytes(key.encode())
    model = saved_model_pb2.SavedModel(meta_graphs=[{}])
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    (folder / FACTS_FILE).parent.mkdir()
    (folder / FACTS_FILE).write_text(json.dumps({"key": key, "spans": [number], "start": {"kind": "cold"}}))
    return folder


def write_span(config, span):
    folder = spans.span_dir(config.data_root, span)
    folder.mkdir(parents=True)
    (folder / spans.MANIFEST).write_text(
        json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}, "simulation": {"seed": 1}})
    )


@pytest.fixture
def config(tmp_path):
    config = Config(output_dir=str(tmp_path))
    push(config, 1, "first")
    push(config, 2, "second")
    return config


def no_facts(folder):
    (folder / FACTS_FILE).write_text('{"key": ')


def other_facts(folder):
    (folder / FACTS_FILE).write_text("[]")


def binary_facts(folder):
    (folder / FACTS_FILE).write_bytes(b"\xff\xfe\x00")


def cut_graph(folder):
    (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:-1])


def empty_graph(folder):
    (folder / "saved_model.pb").write_bytes(b"")


def no_variables(folder):
    shutil.rmtree(folder / "variables")


FAULTS = [no_facts, other_facts, binary_facts, cut_graph, empty_graph, no_variables]


@pytest.mark.parametrize("fault", FAULTS)
def test_message_and_rollback(config, fault):
    fault(config.serving_dir / "2")
    with pytest.raises(ModelError, match="/2: this version is damaged .*blendinator rollback.*then remove its folder"):
        executor.check_readable(find_live(config.serving_dir, "third"))
    assert [one["version"] for one in lineage.list_models(config)] == ["2", "1"]
    for span in (1, 2):
        write_span(config, span)
    pruned = retention.prune(dataclasses.replace(config, retraining=RetrainingConfig(keep_spans=1)))
    facts_are_lost = fault in (no_facts, other_facts, binary_facts)  # then it is not known which spans it needs
    assert [one.path.name for one in pruned] == ([] if facts_are_lost else ["span-0001"])
    assert len(list_versions(config.serving_dir)) == 2
    back = lineage.rollback(config)
    assert list_versions(config.serving_dir)[-1] == back  # live now
    found = find_live(config.serving_dir, "third")
    assert found == back
    executor.check_readable(found)


def test_whole_versions_pass(config):
    executor.check_readable(find_live(config.serving_dir, "third"))
