"""A retraining that is killed in any of its steps, and started again, ends as one that was not.

Each kill is a SIGKILL at the worst moment: the step has done its work and has not recorded it. One output folder is
killed in step after step, which the cache makes cheap, and compared with one that was left alone.
"""

import pytest

from blendinator.lock import exclusive
from blendinator.model.live import list_versions
from blendinator.pipeline.history import explain, lineage, metadata, run_log

SETTINGS = {"retraining": {"simulate": False}}  # the first span is simulated all the same


@pytest.fixture(scope="module")
def outcome(forks, configure, steps, tmp_path_factory):
    """Configurations of an undisturbed and a disturbed folder, and the answers of the disturbed one's processes."""
    (path, calm), (disturbed_path, disturbed) = (
        configure(tmp_path_factory.mktemp(name), settings=SETTINGS) for name in ("calm", "disturbed")
    )
    undisturbed = forks.ask("retrain", "--config", path)
    assert undisturbed["status"] == 0, undisturbed["output"]
    ask = lambda **fault: forks.ask("retrain", "--config", disturbed_path, **fault)
    answers = {step: ask(step=step, fault="kill") for step in steps}
    return calm, disturbed, answers | {"alone": ask(), "again": ask()}


def test_every_step_was_killed_and_the_rest_went_through(outcome, steps):
    *_, answers = outcome
    for step, answer in answers.items():
        assert answer["status"] == (137 if step in steps else 0) and answer["left"] == 0, (step, answer["output"])


def test_the_same_final_state(outcome, steps):
    calm, disturbed, _ = outcome
    for config in (calm, disturbed):
        assert len(list_versions(config.serving_dir)) == 1  # pushed once, although the push itself was killed
        assert not list(config.serving_dir.glob(".incoming*"))
        assert [path.name for path in config.data_root.glob("span-*")] == ["span-0001"]
        assert list(config.checkpoint_root.iterdir()) == []
    ours, theirs = explain.explain(disturbed), explain.explain(calm)
    assert ours["pushed"] and theirs["pushed"]
    assert {step["name"] for step in ours["steps"]} == {step["name"] for step in theirs["steps"]} == set(steps[1:])
    assert {step["state"] for step in ours["steps"]} <= {"COMPLETE", "CACHED"}
    assert ours["metrics"] == theirs["metrics"] and ours["artifacts"].keys() == theirs["artifacts"].keys()


def test_nothing_is_left_running_or_locked(outcome):
    _, disturbed, _ = outcome
    assert metadata.close_interrupted(disturbed.metadata_path) == []
    with exclusive(disturbed.output_dir, "test"):
        pass


def test_the_push_that_was_killed_is_recorded(outcome):
    _, disturbed, _ = outcome
    [version] = list_versions(disturbed.serving_dir)
    found = lineage.lineage(disturbed, version.name)
    assert found["spans"] == [1] and found["path"] == str(version)


def test_the_log_has_one_completed_run_and_an_idle_one(outcome):
    _, disturbed, _ = outcome
    assert [entry["status"] for entry in run_log.read(disturbed.output_dir)] == ["pushed", "nothing"]
