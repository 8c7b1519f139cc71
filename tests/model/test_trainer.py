"""What the Trainer learns only when it runs."""

import json
from types import SimpleNamespace

import pytest

from blendinator.model.trainer import resolve


@pytest.fixture
def fn_args(tmp_path):
    (tmp_path / "train").write_bytes(b"scenes")
    (tmp_path / "calibration").write_bytes(b"others")
    custom = {"config": json.dumps({"training": {"steps": 5, "seed": 2}}), "code": "c", "data": ""}
    return SimpleNamespace(
        custom_config=custom, train_steps=0, train_files=[str(tmp_path / "tr*")], eval_files=[str(tmp_path / "cal*")]
    )


def test_data_known_beforehand_stay(fn_args):
    fn_args.custom_config["data"] = "known"
    assert resolve(fn_args) == fn_args.custom_config


def test_unknown_data_are_told_apart_by_their_content(fn_args, tmp_path):
    first = resolve(fn_args)["data"]
    assert len(first) == 16 and resolve(fn_args)["data"] == first and fn_args.custom_config["data"] == ""
    (tmp_path / "calibration").write_bytes(b"other.")
    assert resolve(fn_args)["data"] != first


def test_steps_given_for_a_run_take_the_place_of_the_configurations(fn_args):
    fn_args.train_steps = 7
    assert json.loads(resolve(fn_args)["config"]) == {"training": {"steps": 7, "seed": 2}}
