"""A pushed model's folder, and what it says to those who cut fields into tiles."""

import json
from collections.abc import Collection
from pathlib import Path

from blendinator.errors import ConfigError, ModelError
from blendinator.model import released
from blendinator.model.live import FIELD_FILE, FIELD_FORMAT, list_versions
from blendinator.stores import Place, place

SIGNATURE = "sample_with_noise"


def find_model(path: str | Place) -> Path:
    """A version's folder, or the newest version below a folder of versions; of an object store, a cached copy.

    Raises:
      ModelError: there is no SavedModel.
    """
    path = place(path, "model")
    versions = [path] if (path / "saved_model.pb").is_file() else list_versions(path)
    if not versions:
        raise ModelError(
            f"{path}: there is no SavedModel here. Give the folder of a pushed version, or run `blendinator run` first."
        )
    return versions[-1] if isinstance(versions[-1], Path) else released.download(versions[-1])


def check_population(population: str | None, known: Collection[str], path: str | Place) -> None:
    """Raises ConfigError unless the model in `path`, calibrated for the `known` ones, knows the population, if any."""
    if population is not None and population not in known:
        allowed = ", ".join(sorted(known)) or "none: it was calibrated for no population"
        raise ConfigError(f"population: received {population!r}; allowed for {path}: {allowed}")


def read_field_facts(path: Path) -> dict:
    """Content of a model's `assets.extra/field.json`.

    Raises:
      ModelError: it is missing, cannot be read or is of another format, or the model's latent has no place.
    """
    try:
        facts = json.loads((path / FIELD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(too_old(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / FIELD_FILE}: this file cannot be read ({error}). Push the model again.")
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FIELD_FORMAT:
        raise ModelError(
            f"{path / FIELD_FILE}: received format {found!r}; allowed: {FIELD_FORMAT}. Use the"
            " release that pushed the model, or push it again."
        )
    if facts["latent"] != "spatial":
        raise ModelError(
            f"{path}: model.latent is {facts['latent']}: one latent for a whole stamp has no meaning on a"
            " field. Train with model.latent: spatial."
        )
    return facts


def too_old(path: Path) -> str:
    """The message for a model without the signature that tiles need."""
    return (
        f"{path}: this model has no signature {SIGNATURE!r}, which tiles of a field need; it was exported by an"
        " earlier release. Run the pipeline again to export one."
    )
