"""Keys of the configuration with another name today; spans, models and users' files of earlier versions hold them."""

from typing import Any

from blendinator.errors import ConfigError

# Former key of the section `simulation`: the share of a split's scenes that were boosted -> today's key.
SHARES = {f"{split}_boosted_share": f"{split}_populations" for split in ("train", "calibration", "test")}

MOVED, SECTION = "background_error", "defects"  # a key that went from `simulation` to a section within


def describe_former(simulation: dict[str, Any]) -> list[str]:
    """For each former key of the section what to write instead."""
    new = migrate_simulation(simulation)
    moved = [f"{MOVED} is now {SECTION}.{MOVED}"] if MOVED in simulation else []
    return moved + [
        f"{former} is now called {key}; write {key}: {{{', '.join(f'{name}: {x:g}' for name, x in new[key].items())}}}"
        for former, key in SHARES.items()
        if former in simulation
    ]


def migrate_model(model: dict[str, Any]) -> dict[str, Any]:
    """The section `model` with today's keys: `sample_correlation` was a single one of today's `sample_scales`."""
    migrated = dict(model)
    if "sample_correlation" in migrated:
        former = migrated.pop("sample_correlation")
        migrated.setdefault("sample_scales", [former])
    return migrated


def migrate_simulation(simulation: dict[str, Any], source: str = "configuration") -> dict[str, Any]:
    """The section `simulation` with today's keys; `source` stands first in messages.

    Raises:
      ConfigError: a former key's value is not allowed, or today's key is there as well.
    """
    migrated = dict(simulation)
    if MOVED in migrated:
        section = migrated.get(SECTION, {})
        if not isinstance(section, dict) or MOVED in section:
            raise ConfigError(
                f"{source}: simulation.{MOVED} is now {SECTION}.{MOVED}, which is there as well: remove it"
            )
        migrated[SECTION] = {MOVED: migrated.pop(MOVED), **section}
    for former, key in SHARES.items():
        if former not in migrated:
            continue
        share = migrated.pop(former)
        if key in migrated:
            raise ConfigError(f"{source}: simulation.{former} is now called {key}, which is there as well: remove it")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share <= 1.0:
            raise ConfigError(
                f"{source}: simulation.{former}: received {str(share)[:80]!r}; this key is now called {key}; allowed:"
                " shares of the populations, such as {boosted: 0.7, natural: 0.3}"
            )
        migrated[key] = {"boosted": float(share), "natural": round(1.0 - share, 12)}
    return migrated
