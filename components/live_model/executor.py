"""The executor: finds the live version and links its files into the artifact."""

import json
import logging
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from blendinator.components.artifacts import Artifacts
from blendinator.errors import ModelError
from blendinator.files import link_tree
from blendinator.model import released
from blendinator.model.live import LIVE_FILE, NO_VERSION, RELEASED, damaged, find_live, read_facts
from blendinator.stores import Place, place

log = logging.getLogger("blendinator.live")


class Executor(base_executor.BaseExecutor):
    """Executor of `LiveModel`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Finds the live model; see `LiveModel` for the output and parameters.

        Raises:
          ModelError: the requested version is not there, or damaged.
        """
        model = artifact_utils.get_single_instance(output_dict["model"])
        found = choose_version(
            exec_properties["serving_dir"], exec_properties.get("key") or "", exec_properties.get("version") or ""
        )
        if found:
            check_readable(found)
        write_live(found, Path(model.uri))
        model.set_int_custom_property("live", int(found is not None))
        model.set_string_custom_property("version", found.name if found else "")
        log.info("live model: %s", f"version {found.name}" if found else "none")


def choose_version(serving_dir: str, key: str, version: str) -> Place | None:
    """Folder of the live version, or None; see `LiveModel` for the arguments."""
    if version == NO_VERSION:
        return None
    if version == RELEASED:
        return released.unpack()
    if not version:
        return find_live(serving_dir, key)
    folder = place(serving_dir) / version
    if not (folder / "saved_model.pb").is_file():
        raise ModelError(
            f"{folder}: version {version} is missing or incomplete. Run again: it is then looked up again."
        )
    return folder


def check_readable(version: Place) -> None:
    """Raises ModelError when a SavedModel lacks files or its graph cannot be parsed: before a training, not after."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    read_facts(version)
    for name in ("variables/variables.index", "variables/variables.data-00000-of-00001"):
        if not (version / name).is_file():
            raise damaged(version, f"{name} is missing")
    try:
        graphs = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs
    except DecodeError as error:
        raise damaged(version, f"saved_model.pb: {error}")
    if not graphs:
        raise damaged(version, "saved_model.pb holds no graph")


def write_live(version: Place | None, folder: Path) -> None:
    """Links the version's files below `folder` and writes `live.json`, which says which version it is, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    if version:
        link_tree(version, Path(path_utils.serving_model_dir(str(folder))))
    content = {"version": version.name if version else None, "source": str(version) if version else None}
    (folder / LIVE_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")
