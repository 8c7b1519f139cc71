"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.scene_schema import executor


class SceneSchemaSpec(component_spec.ComponentSpec):
    """Output and parameters of `SceneSchema`."""

    PARAMETERS = {
        "stamp_size": component_spec.ExecutionParameter(type=int),
        "bands": component_spec.ExecutionParameter(type=int),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class SceneSchema(base_component.BaseComponent):
    """The curated schema for a stamp size and a number of bands, from the installed package.

    TFX's ImportSchemaGen takes a path, which is not there in a container.

    Outputs:
      schema: `schema.pbtxt`.
    """

    SPEC_CLASS = SceneSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, stamp_size: int, bands: int = 1, code: str = "") -> None:
        """
        Args:
          stamp_size: pixels per side of the records.
          bands: of their images.
          code: a hash of the schema and the code, so that the cache sees changes.
        """
        super().__init__(
            SceneSchemaSpec(
                stamp_size=stamp_size, bands=bands, code=code, schema=types.Channel(type=standard_artifacts.Schema)
            )
        )
