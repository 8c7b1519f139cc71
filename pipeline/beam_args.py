"""Checks of `beam.pipeline_args`: a runner that cannot work is found before a run, not an hour into it.

Beam itself only warns of an argument that it does not know, and takes a default cluster for one that is missing.
docs/beam.md has an example for each runner.
"""

import re
from collections.abc import Sequence

from blendinator.errors import ConfigError

# What each runner requires. The workers of a cluster need this package: in their image, or in a worker pool alongside
# them (EXTERNAL).
REQUIRED = {
    "DirectRunner": (),
    "PortableRunner": ("job_endpoint", "environment_type"),
    "FlinkRunner": ("flink_master", "environment_type"),
    "SparkRunner": ("spark_master_url", "environment_type"),
    "DataflowRunner": ("project", "region", "temp_location", "sdk_container_image"),
}
ENVIRONMENTS = ("DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK")


def parse_beam_args(args: Sequence[str]) -> dict[str, str]:
    """{name: value} of arguments such as "--runner=FlinkRunner"; an argument without a value has the value ""."""
    pairs = (arg.removeprefix("--").partition("=") for arg in args)
    return {name: value for name, _, value in pairs}


def runner_name(args: Sequence[str]) -> str:
    """The runner that Beam takes for these arguments."""
    return parse_beam_args(args).get("runner", "DirectRunner")


def check_beam_args(args: Sequence[str], source: str = "configuration") -> None:
    """Raises ConfigError when the arguments are malformed, or the runner is unknown or lacks what it needs."""
    key = f"{source}: beam.pipeline_args"
    for arg in args:
        if not re.fullmatch(r"--[a-z][a-z0-9_]*(=.*)?", arg, re.DOTALL):
            raise ConfigError(f"{key}: received {arg!r}; allowed: --name=value, such as --direct_num_workers=2")
    given = parse_beam_args(args)
    runner = runner_name(args)
    if runner not in REQUIRED:
        raise ConfigError(f"{key}: received --runner={runner}; allowed: one of {', '.join(REQUIRED)}")
    for name in REQUIRED[runner]:
        if not given.get(name):
            raise ConfigError(f"{key}: --runner={runner} needs --{name}, which is not given. See docs/beam.md")
    kind = given.get("environment_type", "LOOPBACK")
    if kind not in ENVIRONMENTS:
        raise ConfigError(f"{key}: received --environment_type={kind}; allowed: one of {', '.join(ENVIRONMENTS)}")
    if kind != "LOOPBACK" and not given.get("environment_config"):
        raise ConfigError(
            f"{key}: --environment_type={kind} needs --environment_config: the workers' image, address or"
            " command. See docs/beam.md"
        )
    if runner == "DataflowRunner" and not given["temp_location"].startswith("gs://"):
        raise ConfigError(f"{key}: received --temp_location={given['temp_location']}; allowed for Dataflow: gs://...")
