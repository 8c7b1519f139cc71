"""All checks in their order."""

import tempfile
from collections.abc import Callable

from blendinator.config import Config
from blendinator.pipeline.doctor import machine, output
from blendinator.pipeline.doctor.check import Check


def examine(config: Config) -> list[Check]:
    """All checks, in the order in which they are shown."""
    checks: list[Callable[[], Check]] = [
        machine.python,
        machine.libraries,
        machine.pins,
        machine.processor,
        lambda: machine.pace(config),
        machine.gpu,
        machine.memory,
        lambda: output.disk(config),
        lambda: output.writable("output folder", config.output_dir, "Set output_dir to a folder where you may write."),
        lambda: output.writable(
            "temporary folder", tempfile.gettempdir(), "Set TMPDIR to a folder where you may write."
        ),
        lambda: output.running(config.output_dir),
        lambda: output.spans(config.data_root),
        lambda: output.store(config.metadata_path),
        lambda: output.serving(config.serving_dir),
    ]
    return [check() for check in checks]
