"""Versions appear whole and once, and a killed push leaves nothing that a server could take."""

import json
import os
import threading
import time

import pytest

from blendinator.files import INCOMING, remove_folder
from blendinator.model import versions
from blendinator.model.live import FACTS_FILE, list_versions


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model", "a")


def make_model(folder, content):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables" / "data").write_text(content * 1000)
    (folder / FACTS_FILE).parent.mkdir()
    (folder / FACTS_FILE).write_text(json.dumps({"key": content}))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_first_version_is_the_time(model, tmp_path):
    version = versions.publish(model, tmp_path / "serving")
    assert abs(int(version.name) - time.time()) < 60 and versions.digest(version) == versions.digest(model)
    assert names(tmp_path / "serving") == [version.name]


def test_numbers_rise_even_if_the_clock_does_not(model, tmp_path):
    (tmp_path / "serving" / "99999999999").mkdir(parents=True)  # holds no model, but has the number
    assert versions.publish(model, tmp_path / "serving").name == "100000000000"


def test_a_push_that_was_not_recorded_is_found_again(model, tmp_path):
    first = versions.publish(model, tmp_path / "serving")
    assert versions.publish(model, tmp_path / "serving") == first
    assert len(list_versions(tmp_path / "serving")) == 1
    other = versions.publish(make_model(tmp_path / "other", "b"), tmp_path / "serving")
    assert int(other.name) > int(first.name)
    assert int(versions.publish(model, tmp_path / "serving").name) > int(other.name)  # no longer the newest


def test_the_same_model_again_on_request(model, tmp_path):
    first = versions.publish(model, tmp_path / "serving")
    assert int(versions.publish(model, tmp_path / "serving", again=True).name) > int(first.name)


def test_what_a_killed_push_left_is_removed(model, tmp_path, monkeypatch):
    serving = tmp_path / "serving"

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        versions.publish(model, serving)
    assert names(serving) == []
    monkeypatch.undo()
    (serving / f"{INCOMING}7").mkdir()  # of one that had no time to clean up
    version = versions.publish(model, serving)
    assert names(serving) == [version.name]


def test_removal(model, tmp_path):
    version = versions.publish(model, tmp_path / "serving")
    remove_folder(version)
    assert names(tmp_path / "serving") == []


def test_a_polling_server_never_finds_half_a_version_or_none(model, tmp_path):
    """Polls as TensorFlow Serving does: the highest number, whose files must all be there."""
    serving = tmp_path / "serving"
    versions.publish(model, serving)
    expected = {path.relative_to(model) for path in model.rglob("*")}
    wrong, polls, stop = [], [], threading.Event()

    def poll():
        while not stop.is_set():
            numbers = [name for name in os.listdir(serving) if name.isdigit()]
            if not numbers:
                wrong.append("empty")
                continue
            newest = serving / max(numbers, key=int)
            try:
                seen = {path.relative_to(newest) for path in newest.rglob("*")}
            except FileNotFoundError:
                seen = set()
            if seen != expected and newest.exists():  # else it was removed as an old one since
                wrong.append(seen)
            polls.append(newest.name)

    thread = threading.Thread(target=poll)
    thread.start()
    deadline = time.monotonic() + 20
    while len(set(polls)) < 10 and time.monotonic() < deadline:
        versions.publish(model, serving, again=True)
        if len(list_versions(serving)) > 3:
            remove_folder(list_versions(serving)[0])
    stop.set()
    thread.join()
    assert wrong == [] and len(set(polls)) >= 10
