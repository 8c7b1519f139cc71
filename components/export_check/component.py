"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.export_check import executor


class ExportCheckSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `ExportCheck`."""

    PARAMETERS = {
        "num_samples": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "stamp_size": component_spec.ExecutionParameter(type=int),
        "serving": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ExportCheck(base_component.BaseComponent):
    """Calls the exported model in a fresh process that has plain TensorFlow only, as a server would; with
    `serving.infra_check: triton` also a server.

    TFX's InfraValidator needs Docker or Kubernetes; this gives the same InfraBlessing without either.

    Outputs:
      blessing: a standard InfraBlessing with the custom properties `blessed` (0 or 1) and `reason`, and the file
        `report.json`, which lists every check.
    """

    SPEC_CLASS = ExportCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        num_samples: int,
        seed: int,
        stamp_size: int,
        serving: str,
        code: str = "",
    ) -> None:
        """
        Args:
          examples: Examples with a split `test`.
          model: the Model to check.
          num_samples: samples behind the model's `serving_default`.
          seed: their seed.
          stamp_size: pixels per side of the records.
          serving: the configuration's section `serving`, JSON.
          code: a hash of the code, so that the cache sees changes.
        """
        super().__init__(
            ExportCheckSpec(
                examples=examples,
                model=model,
                num_samples=num_samples,
                seed=seed,
                stamp_size=stamp_size,
                serving=serving,
                code=code,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
