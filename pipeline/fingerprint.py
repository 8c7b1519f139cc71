"""Hashes that make TFX's cache see what it does not look at: the code behind a dotted path, the libraries, and the data
of a span.

TFX's cache compares a component's inputs and parameters. For
`run_fn="blendinator.model.trainer.run_fn"` that is the text only, so that edited code would reuse old results. These
hashes go in as parameters.
"""

import hashlib
import json
from pathlib import Path

import blendinator
from blendinator import stack
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.data import spans

PACKAGE = Path(blendinator.__file__).parent
FOUNDATION = ("config.py", "config_loader.py", "errors.py", "escape.py", "files.py", "lock.py", "stack.py")
PACKAGES = ("components", "data", "model", "pipeline", "schemas", "schemas/scene.pbtxt", *FOUNDATION)


def code_fingerprint(*paths: str, root: Path = PACKAGE) -> str:
    """SHA-256 over the names and contents of the Python files of packages or of single files, in a fixed order.

    The versions of the libraries that run them (`blendinator.stack.versions`) are part of it.

    Args:
      *paths: folders or files below `root`, such as "model" or "config.py".
      root: the package's folder.

    Raises:
      FileNotFoundError: a path does not exist: a hash of nothing would never change.
    """
    files = []
    for name in paths:
        path = root / name
        if not path.exists():
            raise FileNotFoundError(path)
        files += path.rglob("*.py") if path.is_dir() else [path]
    digest = hashlib.sha256(json.dumps(stack.versions()).encode())
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def request_fingerprint(config: Config, data: str) -> str:
    """SHA-256 over all that the outcome of a run depends on: configuration, code, libraries, and data."""
    read = config_to_dict(config)
    retraining = read["retraining"]
    parts = {key: read[key] for key in ("name", "output_dir", "model", "training", "evaluation")}
    parts |= {
        "stamp_size": read["simulation"]["stamp_size"],
        "warm_start": retraining["warm_start"],
        "drift": retraining["drift"],
        "data": data,
        "code": code_fingerprint(*PACKAGES),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def data_fingerprint(data_root: str | Path, chosen: tuple[int, ...]) -> str:
    """SHA-256 over the manifests of spans, which hold each file's checksum."""
    digest = hashlib.sha256()
    for span in chosen:
        digest.update((spans.span_dir(data_root, span) / spans.MANIFEST).read_bytes())
    return digest.hexdigest()[:16]
