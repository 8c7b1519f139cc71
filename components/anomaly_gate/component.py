"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.anomaly_gate import executor


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `AnomalyGate`."""

    PARAMETERS = {"code": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"checked_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class AnomalyGate(base_component.BaseComponent):
    """Stops the run when ExampleValidator found anomalies or did not see every record, else passes the examples on.

    ExampleValidator reports anomalies and lets the run go on. Everything downstream takes its examples from this
    component, so that nothing can run on bad data.

    Outputs:
      checked_examples: the same files as in `examples`.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        anomalies: types.BaseChannel,
        schema: types.BaseChannel,
        code: str = "",
    ) -> None:
        """
        Args:
          examples: the Examples that were validated.
          statistics: their statistics, which say how many records were seen.
          anomalies: what ExampleValidator found in them.
          schema: the Schema they were validated against.
          code: a hash of the code, so that the cache sees changes.
        """
        super().__init__(
            AnomalyGateSpec(
                examples=examples,
                statistics=statistics,
                anomalies=anomalies,
                schema=schema,
                code=code,
                checked_examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
