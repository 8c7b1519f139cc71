"""The disk is asked before a run begins."""

import dataclasses
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from blendinator.data import spans
from blendinator.errors import DataError
from blendinator.pipeline import space

Usage = namedtuple("Usage", "total used free")


def test_too_little_space_stops_before_anything_is_written(config, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**8))
    with pytest.raises(DataError, match="the disk has 0.1 GB left and a run may need 0.5 GB. Free some space"):
        space.check_space(config)
    assert list(Path(config.output_dir).iterdir()) == []


def test_space_for_the_simulation_counts_only_when_it_is_to_be_simulated(config, make_span, monkeypatch):
    config = dataclasses.replace(config, simulation=dataclasses.replace(config.simulation, train_scenes=10**6))
    size = 1_000_100 * 32 * 32 * spans.BYTES_PER_PIXEL
    mapped = 1_000_050 * 32 * 32 * spans.MAPPED_BYTES_PER_PIXEL
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, space.WORKING_SPACE + mapped + 1.5 * size))
    with pytest.raises(DataError, match="Free some space"):
        space.check_space(config)
    make_span(1)
    space.check_space(config)


@pytest.mark.parametrize(
    ("selection", "there", "used"), [("latest", 3, 1), ("latest:3", 2, 2), ("latest:2", 3, 2), ("2-4", 3, 3)]
)
def test_space_counts_each_span_that_is_used(config, make_span, selection, there, used):
    for span in range(1, there + 1):
        make_span(span)
    one = space.needed_space(config, "latest") - space.WORKING_SPACE
    assert space.needed_space(config, selection) - space.WORKING_SPACE == used * one > 0
