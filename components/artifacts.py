"""The type of what TFX hands to an executor."""

from typing import TypeAlias

from tfx import types

Artifacts: TypeAlias = dict[str, list[types.Artifact]]  # inputs or outputs of a component, by key
