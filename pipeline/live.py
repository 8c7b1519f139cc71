"""Which pushed version a new model is compared with."""

import hashlib
import json
from pathlib import Path

# Facts of the training, written into each export; TensorFlow Serving ignores assets.extra.
FACTS_FILE = "assets.extra/blendinator.json"


def training_key(custom_config: dict) -> str:
    """Short hash of what makes a model: the Trainer's `custom_config` (configuration, code, data)."""
    return hashlib.sha256(json.dumps(custom_config, sort_keys=True).encode()).hexdigest()[:16]


def find_live(serving_dir: str | Path, key: str) -> Path | None:
    """The newest pushed version that is another model than the one with this `training_key`; None where there is none.

    Leaving out the same model makes a repeated run see what the first one saw: it is compared with its predecessor and
    not with itself, and every step can be reused.
    """
    versions = [path for path in Path(serving_dir).glob("*") if path.name.isdigit() and (path / "saved_model.pb").is_file()]
    for version in sorted(versions, key=lambda path: int(path.name), reverse=True):
        facts = version / FACTS_FILE
        if not facts.is_file() or json.loads(facts.read_text(encoding="utf-8")).get("key") != key:
            return version
    return None
