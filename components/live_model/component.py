"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.live_model import executor


class LiveModelSpec(component_spec.ComponentSpec):
    """Outputs and parameters of `LiveModel`."""

    PARAMETERS = {
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "key": component_spec.ExecutionParameter(type=str),
        "version": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class LiveModel(base_component.BaseComponent):
    """The pushed version that a new model starts from and is compared with, as an artifact.

    A resolver or importer would do the same, but Kubeflow runs no resolver, and an importer needs a path when the
    pipeline is compiled. The files are linked or copied: a version may be removed while a run still needs it.

    Outputs:
      model: the live version's SavedModel under `Format-Serving`, where Trainer's `base_model` looks for it, and
        `live.json`. There may be no live version: then the artifact holds `live.json` alone, which says so
        (`blendinator.model.live.holds_no_model`).
    """

    SPEC_CLASS = LiveModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, serving_dir: str, key: str = "", version: str = "", code: str = "") -> None:
        """
        Args:
          serving_dir: folder of the pushed versions.
          key: `blendinator.model.live.training_key` of the model to be trained, which is not live for itself.
          version: the version's number; "none" for no live model; "released" for the model that the package ships;
            empty to look into `serving_dir` when the component runs. A caller that can look gives it, so that the cache
            sees a changed live model.
          code: a hash of the code, for the same reason.
        """
        super().__init__(
            LiveModelSpec(
                serving_dir=serving_dir,
                key=key,
                version=version,
                code=code,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
