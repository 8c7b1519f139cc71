"""The released model: a pushed version that the package ships, for images before anything was trained here.

`blendinator/released/` holds `model.tar.xz`, a version's folder as it was pushed but for its weights, which are rounded
to bfloat16 so that the archive is small, and `model.json`, its card. `scripts/release_model.py` makes both. The
archive is unpacked at first use, below $XDG_CACHE_HOME/blendinator or ~/.cache/blendinator. Versions from an object
store are copied there, too.
"""

import functools
import hashlib
import json
import logging
import os
import tarfile
import tempfile
from pathlib import Path

import blendinator
from blendinator.errors import ModelError
from blendinator.files import atomic_folder
from blendinator.model.live import RELEASED as NAME
from blendinator.stores import ObjectPath

log = logging.getLogger("blendinator")
FOLDER = Path(blendinator.__file__).parent / "released"
ARCHIVE, CARD = "model.tar.xz", "model.json"
FORMAT = 1


def card(folder: Path = FOLDER) -> dict | None:
    """What the released model is: `name`, `sha256` of the archive, `facts` of its training and `metrics`; None if the
    package ships none.

    Raises:
      ModelError: the card is damaged or of another release of the package.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _unusable(path, f"it is not a card of format {FORMAT}")
    return found


def unpack(folder: Path = FOLDER, cache: Path | None = None) -> Path:
    """Folder of the released model's SavedModel, called `released`; unpacked if this was not done before.

    Args:
      folder: with the archive and its card.
      cache: where to unpack to; by default the user's. Where it cannot be written, a temporary folder serves.

    Raises:
      ModelError: the package ships no model, or it is damaged.
    """
    found = card(folder)
    if found is None:
        raise ModelError(
            f"{folder}: this installation holds no released model. Install the package again, or train a model with "
            "`blendinator run`."
        )
    cache = cache or user_cache()
    target = cache / found["sha256"][:16]
    if (target / NAME / "saved_model.pb").is_file():
        return target / NAME
    try:
        data = (folder / ARCHIVE).read_bytes()
    except OSError as error:
        raise _unusable(folder / ARCHIVE, error.strerror or str(error))
    if hashlib.sha256(data).hexdigest() != found["sha256"]:
        raise _unusable(folder / ARCHIVE, "its checksum is not the one on its card")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return _extract(folder / ARCHIVE, target) / NAME
    except OSError as error:
        log.warning("%s cannot be written (%s); the released model is unpacked for this process only", cache, error)
        return _temporary(folder) / NAME


def user_cache() -> Path:
    """The folder of the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blendinator"


def download(version: ObjectPath, cache: Path | None = None) -> Path:
    """A copy of a version that lies in an object store, called as it is; downloaded if this was not done before.

    Args:
      version: its folder.
      cache: where to put it; by default the user's cache. Where that cannot be written, a temporary folder serves.
    """
    generation = (version / "saved_model.pb").stat().generation  # of another one of the same name it is another
    key = hashlib.sha256(f"{version} {generation}".encode()).hexdigest()[:16]
    cache = cache or user_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError
    except OSError:
        log.warning("%s cannot be written; %s is copied for this process only", cache, version)
        cache = Path(tempfile.mkdtemp(prefix="blendinator-"))
    target = cache / key / version.name
    if not (target / "saved_model.pb").is_file():
        try:
            with atomic_folder(target.parent) as incoming:
                version.download_tree(incoming / version.name)
        except OSError:
            if not (target / "saved_model.pb").is_file():  # else another process was faster
                raise
    return target


@functools.lru_cache(maxsize=1)
def _temporary(folder: Path) -> Path:
    cache = Path(tempfile.mkdtemp(prefix="blendinator-"))
    return _extract(folder / ARCHIVE, cache / "model")


def _extract(archive: Path, target: Path) -> Path:
    """Unpacks beside `target` and renames: another process sees all of it or nothing."""
    try:
        with atomic_folder(target) as incoming:
            try:
                with tarfile.open(archive, "r:xz") as tar:
                    _extract_all(tar, incoming)
            except (tarfile.TarError, EOFError, ValueError) as error:
                raise _unusable(archive, str(error))
            if not (incoming / NAME / "saved_model.pb").is_file():
                raise _unusable(archive, f"it holds no {NAME}/saved_model.pb")
    except OSError:
        if not (target / NAME / "saved_model.pb").is_file():  # else another process was faster
            raise
    return target


def _extract_all(tar: tarfile.TarFile, folder: Path) -> None:
    tar.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(folder)


def _unusable(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path}: the released model cannot be used ({why}). Install the package again, or give a pushed version."
    )
