"""Settles the Keras version (see `model/__init__.py`) and Beam's runner before any test; the nightly tests."""

import hypothesis
import pytest

import blendinator  # noqa: F401
from blendinator.stack import use_in_memory_runner

# The same cases every time, so that `make test` fails only where something changed; the nightly ones are new each time.
hypothesis.settings.register_profile("quick", max_examples=200, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="the faults and fuzzing at full length: `make nightly`")


def pytest_configure(config):
    use_in_memory_runner()
    hypothesis.settings.load_profile("nightly" if config.getoption("--nightly") else "quick")
    config.addinivalue_line("markers", "nightly: too long for `make test`; run by `make nightly`")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--nightly"):
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="only in `make nightly`"))
