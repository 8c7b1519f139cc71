"""Which pushed version a new model is compared with."""

import json

from blendinator.model.live import FACTS_FILE, find_live, training_key


def push(serving, version, key=None):
    folder = serving / version
    (folder / FACTS_FILE).parent.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    if key:
        (folder / FACTS_FILE).write_text(json.dumps({"key": key}))
    return folder


def test_nothing_was_pushed_yet(tmp_path):
    assert find_live(tmp_path / "serving", "a") is None


def test_the_newest_version_by_number(tmp_path):
    push(tmp_path, "99", "x")
    newest = push(tmp_path, "1000", "y")
    assert find_live(tmp_path, "a") == newest


def test_a_model_is_not_compared_with_itself(tmp_path):
    before = push(tmp_path, "1", "x")
    push(tmp_path, "2", "a")
    assert find_live(tmp_path, "a") == before


def test_half_written_and_foreign_folders_are_passed_over(tmp_path):
    good = push(tmp_path, "1", "x")
    (tmp_path / "2").mkdir()
    (tmp_path / "notes").mkdir()
    assert find_live(tmp_path, "a") == good


def test_a_version_without_facts_is_another_model(tmp_path):
    assert find_live(tmp_path, "a") is None
    assert find_live(tmp_path, "a") != push(tmp_path, "1")
    assert find_live(tmp_path, "a") == tmp_path / "1"


def test_the_key_names_configuration_code_and_data():
    base = {"config": "c", "code": "d", "data": "e"}
    assert training_key(base) == training_key(dict(reversed(base.items())))
    assert len({training_key({**base, name: "other"}) for name in base} | {training_key(base)}) == 4
