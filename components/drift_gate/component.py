"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.drift_gate import executor


class DriftGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `DriftGate`."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "live_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"drift": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class DriftGate(base_component.BaseComponent):
    """Compares the training data with those of the live model, and stops the run or warns when they drifted.

    The reference travels in the live model's `assets.extra`: the spans themselves may be gone. Without a live model, or
    with one that has no statistics, nothing is compared, and the log says so.

    Outputs:
      drift: `drift.json`, with the comparisons of `drift.compare`, and the custom property `drift` (0 or 1).
    """

    SPEC_CLASS = DriftGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self, statistics: types.BaseChannel, live_model: types.BaseChannel, config: str, code: str = ""
    ) -> None:
        """
        Args:
          statistics: of the new data, with a split `train`.
          live_model: from `LiveModel`.
          config: the section `retraining.drift` as JSON.
          code: a hash of the code, so that the cache sees changes.
        """
        super().__init__(
            DriftGateSpec(
                statistics=statistics,
                live_model=live_model,
                config=config,
                code=code,
                drift=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
