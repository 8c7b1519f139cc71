"""TFX's Pusher with an executor of our own."""

import model  # noqa: F401  settles the Keras version before TFX imports TensorFlow

# isort: split

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.atomic_pusher import executor


class Pusher(component.Pusher):
    """As TFX's own, but a version appears whole and once; see `executor.Executor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
