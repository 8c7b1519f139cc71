"""The executor: writes the schema."""

import os
from typing import Any

from google.protobuf import text_format
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from blendinator.components.artifacts import Artifacts
from blendinator.schemas.schema import load_schema

SCHEMA_FILE = "schema.pbtxt"  # the name that TFX's own components give


class Executor(base_executor.BaseExecutor):
    """Executor of `SceneSchema`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the schema; see `SceneSchema` for the output and parameters."""
        text = text_format.MessageToString(load_schema(exec_properties["stamp_size"], exec_properties["bands"]))
        folder = artifact_utils.get_single_uri(output_dict["schema"])
        io_utils.write_string_file(os.path.join(folder, SCHEMA_FILE), text)
