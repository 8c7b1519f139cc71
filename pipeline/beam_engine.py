"""The engine that beam.pipeline_args names: which jobs it can take, and whether it is there.

Its presence is checked before a job: Beam itself would wait, or fail with a message in Java.
"""

import os
import re
import socket
from collections.abc import Sequence

from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import parse_beam_args, runner_name

ADDRESS = {"PortableRunner": "job_endpoint", "FlinkRunner": "flink_master", "SparkRunner": "spark_master_url"}
JAR = {"FlinkRunner": "flink_job_server_jar", "SparkRunner": "spark_job_server_jar"}
MAVEN = "https://repo.maven.apache.org/maven2/org/apache/beam"


def args_on_shared_files(args: Sequence[str]) -> tuple[str, ...]:
    """`beam.pipeline_args` for a job on files at local paths; none for Dataflow, whose workers see no such files."""
    return () if runner_name(args) == "DataflowRunner" else tuple(args)


def simulation_args(args: Sequence[str]) -> tuple[str, ...] | None:
    """`beam.pipeline_args` for the simulation where an engine takes it; None for processes of this machine."""
    return tuple(args) if runner_name(args) in ADDRESS else None


def check_engine(args: Sequence[str], source: str = "configuration", seconds: float = 5) -> None:
    """Raises ConfigError unless the engine's address accepts a connection and its job server's file is there.

    Args:
      args: `beam.pipeline_args`, checked by `check_beam_args`. source: named in messages.
      seconds: how long to wait for a connection.
    """
    given, runner = parse_beam_args(args), runner_name(args)
    jar = given.get(JAR.get(runner, ""), "")
    if jar and "://" not in jar and not os.path.isfile(jar):
        kind = "flink-1.19" if runner == "FlinkRunner" else "spark-3"
        raise ConfigError(
            f"{source}: beam.pipeline_args: --{JAR[runner]}={jar}: this file does not exist. Download it for the"
            f" installed version of apache-beam from {MAVEN}/beam-runners-{kind}-job-server, or, for a Flink on this"
            " machine, call `make test-flink`, which puts one into .tools/flink."
        )
    name = ADDRESS.get(runner, "")
    match = re.fullmatch(r"(?:\w+://)?(\[[^\]]+\]|[^:/\[\]]+):(\d{1,5})/?", given.get(name, ""))
    if not match:  # such as [local], or a service without an address
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), seconds).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{source}: beam.pipeline_args: --{name}={given[name]}: nothing answers there"
            f" ({getattr(error, 'strerror', None) or error}). Start the engine, or correct the address. See"
            " docs/beam.md"
        )
