"""TFX's Pusher with an executor of our own."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from blendinator.components.atomic_pusher import executor


class Pusher(component.Pusher):
    """As TFX's own, but a version appears whole and once; see `executor.Executor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
