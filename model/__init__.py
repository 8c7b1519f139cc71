"""The ProbaUNet: network, losses, training, export and calibration metrics.

TensorFlow Transform sets TF_USE_LEGACY_KERAS=1 when the variable is unset, and TensorFlow Probability then fails to
import. It is settled here, before anything in this package imports TensorFlow.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
