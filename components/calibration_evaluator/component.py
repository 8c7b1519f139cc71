"""The component's specification."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from blendinator.components.calibration_evaluator import executor


class CalibrationEvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `CalibrationEvaluator`."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "thresholds": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class CalibrationEvaluator(base_beam_component.BaseBeamComponent):
    """Samples every scene of the test split, computes metrics and applies the configured rules.

    Outputs:
      evaluation: a folder with `metrics.json`, `scenes.npz` (a row of statistics per scene; likewise `scenes-live.npz`
        and `scenes-classical.npz`), `account.json` (records read) and picture pages: `examples.png`,
        `scenes-best.png`, `scenes-typical.png` and `scenes-worst.png`.
      blessing: a standard ModelBlessing with the custom properties `blessed`, `current_model`, `current_model_id`.
    """

    SPEC_CLASS = CalibrationEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        config: str,
        thresholds: str = "",
        code: str = "",
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        """
        Args:
          examples: Examples with a split `test`.
          model: Model whose serving export has the signature `sample`.
          config: the configuration that the evaluation reads, as JSON (`blendinator.pipeline.dag.evaluator_config`).
          thresholds: JSON, a list of rules in place of the configuration's `evaluation.thresholds`; none if empty.
          code: a hash of the code, so that the cache sees changes.
          baseline_model: the Model that is live (from `LiveModel`, which may hold none; a Trainer's artifact; or a
            pushed version), evaluated on the same scenes with the same seeds; without it the relative rules don't
            apply.
        """
        super().__init__(
            CalibrationEvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                config=config,
                thresholds=thresholds,
                code=code,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
