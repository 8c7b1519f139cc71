"""Whether the disk has room for a run."""

import shutil
from pathlib import Path

from blendinator.config import Config
from blendinator.data.spans import BYTES_PER_PIXEL, MAPPED_BYTES_PER_PIXEL, list_spans, parse_selection
from blendinator.data.survey import bands_of
from blendinator.errors import DataError

WORKING_SPACE = 500e6  # bytes for artifacts, checkpoints, logs and two copies of the model, besides the data


def check_space(config: Config, spans: str = "latest") -> None:
    """Raises DataError when the disk has less room than a run may need."""
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = needed_space(config, spans), shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: the disk has {free / 1e9:.1f} GB left and a run may need {needed / 1e9:.1f} GB. "
            "Free some space, set output_dir to another disk, or simulate fewer scenes."
        )


def needed_space(config: Config, spans: str = "latest") -> float:
    """Bytes that a run may need: spans, their ingested copy, what the training maps into memory, working space."""
    simulation, wanted, there = config.simulation, parse_selection(spans), len(list_spans(config.data_root))
    used = max(1, min(wanted, there)) if isinstance(wanted, int) else len(wanted)
    simulated = 0 if there or not isinstance(wanted, int) else 1
    mapped = simulation.train_scenes + simulation.calibration_scenes
    stored = mapped + simulation.test_scenes
    return WORKING_SPACE + simulation.stamp_size**2 * len(bands_of(simulation.survey)) * (
        (simulated + used) * stored * BYTES_PER_PIXEL + used * mapped * MAPPED_BYTES_PER_PIXEL
    )
