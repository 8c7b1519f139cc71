"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.span_example_gen import executor


class SpanExampleGenSpec(component_spec.ComponentSpec):
    """Outputs and parameters of `SpanExampleGen`."""

    PARAMETERS = {
        "data_root": component_spec.ExecutionParameter(type=str),
        "spans": component_spec.ExecutionParameter(type=str),
        "stamp_size": component_spec.ExecutionParameter(type=int),
        "bands": component_spec.ExecutionParameter(type=int),
        "fingerprint": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
        "pipeline_args": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class SpanExampleGen(base_component.BaseComponent):
    """Ingests spans as one Examples artifact with the splits train, calibration and test.

    TFX's own ExampleGen takes one span per run and resolves it in a driver, which Kubeflow does not run. This one needs
    no driver and takes any number of spans.

    Outputs:
      examples: the spans' files, byte for byte, with the custom properties `data_root`, `spans` ("1,2") and `records`
        (JSON: records per split).
    """

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        data_root: str,
        spans: str,
        stamp_size: int,
        bands: int = 1,
        fingerprint: str = "",
        code: str = "",
        pipeline_args: str = "",
    ) -> None:
        """
        Args:
          data_root: folder of the spans.
          spans: "latest", "latest:3", or numbers and ranges such as "1,3-5".
          stamp_size: pixels per side that the records must have.
          bands: that their images must have.
          fingerprint: a hash of the spans' manifests, so that the cache sees changed data.
          code: a hash of the code, for the same reason.
          pipeline_args: JSON, a list: Beam's arguments for a job that verifies and copies; none if empty. The engine's
            workers must see the same files.
        """
        super().__init__(
            SpanExampleGenSpec(
                data_root=data_root,
                spans=spans,
                stamp_size=stamp_size,
                bands=bands,
                fingerprint=fingerprint,
                code=code,
                pipeline_args=pipeline_args,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
