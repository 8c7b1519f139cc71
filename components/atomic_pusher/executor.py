"""An executor for TFX's Pusher whose versions appear whole, and once."""

import logging
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from blendinator.components.artifacts import Artifacts
from blendinator.model.versions import publish
from blendinator.stores import place

log = logging.getLogger("blendinator.push")


class Executor(executor.Executor):
    """As TFX's own, with two differences that an unattended pipeline needs.

    TFX copies file by file into `<base>/<unix seconds>`: a server that polls the folder can find a version without its
    model, and a run that is killed there leaves one. Here a version is a renamed folder, or in an object store one
    whose `saved_model.pb` comes last. And a run that is killed between the push and its record finds, when it runs
    again, the version that it pushed, and records that one.
    """

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Pushes a model that has all its blessings; see TFX's Pusher for the inputs, output and parameters."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        version = publish(Path(self.GetModelPath(input_dict)), place(destination.filesystem.base_directory))
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)
        log.info("pushed version %s", version.name)
