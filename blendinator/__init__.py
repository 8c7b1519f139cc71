"""Calibrated maps of where galaxies overlap: a TFX pipeline around a probabilistic U-Net.

The subpackages, from the ground up: `data` (records and simulations), `schemas`, `model` (network, training, metrics,
fields), `components` (of TFX) and `pipeline` (DAG, runs, command line). An arrow between them never points up.

Two settings of TensorFlow are made here, before anything in this package imports it; a user's own values stand.
TensorFlow Transform sets TF_USE_LEGACY_KERAS=1 when the variable is unset, and TensorFlow Probability then fails to
import. And TensorFlow leaves oneDNN off on processors without AVX512-VNNI, where it trains 1.6 times as fast with it
(docs/stacks.md).
"""

import importlib
import os
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

# Public names and where they live. They are imported on first use: TensorFlow alone takes seconds.
_LAZY = {
    "Maps": "model.maps",
    "Segmenter": "model.client",
    "Simulator": "data.scene",
    "load_config": "config_loader",
    "simulate_span": "data.simulate",
}
__all__ = ["Maps", "Segmenter", "Simulator", "__version__", "load_config", "simulate_span"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
