"""Errors that a user can fix come through Beam as what they are."""

import pytest

from blendinator.beam_errors import carry, raise_carried, unwrap
from blendinator.errors import BlendinatorError, ConfigError, DataError, ModelError

QUOTED = "Error received from SDK harness for instruction bundle_3: Traceback (most recent call last):\n  File x\n"


@pytest.mark.parametrize("kind", [BlendinatorError, ConfigError, DataError, ModelError])
def test_a_carried_error_is_raised_as_what_it_was(kind):
    with pytest.raises(kind, match="a.gz: record 3") as raised:
        raise_carried([carry(kind("a.gz: record 3")), carry(DataError("b.gz"))])
    assert type(raised.value) is kind


def test_nothing_is_raised_where_nothing_was_carried():
    raise_carried([])


def test_a_worker_s_error_is_told_from_a_defect():
    other = RuntimeError(QUOTED + "blendinator.errors.DataError: a.gz: is full. [while running 'Simulate']\n\n")
    for error in (other, DataError("a.gz: is full. [while running 'Simulate']")):
        found = unwrap(error)
        assert isinstance(found, DataError) and str(found) == "a.gz: is full."
    model = unwrap(RuntimeError(QUOTED + "blendinator.errors.ModelError: m: no model"))
    assert isinstance(model, ModelError) and str(model) == "m: no model"
    assert unwrap(RuntimeError(QUOTED + "KeyError: 'x'")) is None
