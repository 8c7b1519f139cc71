"""Settles the Keras version (see `model/__init__.py`) before any test imports TensorFlow."""

import model  # noqa: F401
