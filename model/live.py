"""Which pushed version a new model is compared with."""

import hashlib
import json
from pathlib import Path

from blendinator.errors import ModelError
from blendinator.stores import Place, place

# Facts of the training, written into each export; TensorFlow Serving ignores assets.extra.
FACTS_FILE = "assets.extra/blendinator.json"
FIELD_FILE = "assets.extra/field.json"  # what `blendinator.model.client` must know to cut a field into tiles
FIELD_FORMAT = 2
STATISTICS_FILE = "assets.extra/statistics.pb"  # TFDV's statistics of the training split, the reference for drift
LIVE_FILE = "live.json"  # in the artifact of `LiveModel`: which version it holds, if any
NO_VERSION = "none"  # in place of a version's number: there is no live model
RELEASED = "released"  # likewise: the model that the package ships


def training_key(custom_config: dict) -> str:
    """Short hash of what makes a model: the Trainer's `custom_config` (configuration, code, data)."""
    return hashlib.sha256(json.dumps(custom_config, sort_keys=True).encode()).hexdigest()[:16]


def find_live(serving_dir: str | Place, key: str) -> Place | None:
    """The newest pushed version that is another model than the one with this `training_key`; None where there is none.

    Leaving out the same model makes a repeated run see what the first one saw: it is compared with its predecessor and
    not with itself, and every step can be reused.
    """
    for version in reversed(list_versions(serving_dir)):
        if read_facts(version).get("key") != key:
            return version
    return None


def list_versions(serving_dir: str | Place) -> list[Place]:
    """Folders of the pushed versions, the lowest number first; the last one is what a server serves."""
    found = [
        path
        for path in place(serving_dir, "serving_dir").glob("*")
        if path.name.isdigit() and (path / "saved_model.pb").is_file()
    ]
    return sorted(found, key=lambda path: int(path.name))


def read_facts(folder: str | Place) -> dict:
    """Facts of the training of the SavedModel in `folder`; {} where an earlier version of the code wrote none.

    Raises:
      ModelError: the file is damaged.
    """
    path = place(folder) / FACTS_FILE
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, f"{FACTS_FILE}: {error}")
    if not isinstance(facts, dict):
        raise damaged(folder, f"{FACTS_FILE} holds no mapping")
    return facts


def readable_facts(folder: str | Place) -> dict:
    """The same; {} where they are damaged too, so that the other versions can still be listed and kept."""
    try:
        return read_facts(folder)
    except ModelError:
        return {}


def damaged(folder: str | Place, why: str) -> ModelError:
    """The error for a version that cannot be used, with the remedy."""
    return ModelError(
        f"{folder}: this version is damaged ({why}). If it is the live one, go back with `blendinator "
        "rollback`; then remove its folder."
    )


def live_version(uri: str | Path) -> str | None:
    """Version that a `LiveModel` artifact holds; None where there was no live model, or for another Model artifact."""
    path = Path(uri) / LIVE_FILE
    return json.loads(path.read_text(encoding="utf-8"))["version"] if path.is_file() else None


def holds_no_model(uri: str | Path) -> bool:
    """Whether this is the artifact of a `LiveModel` that found none."""
    return (Path(uri) / LIVE_FILE).is_file() and live_version(uri) is None
