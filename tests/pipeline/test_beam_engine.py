"""Whether an engine is there."""

import socket

import pytest

from blendinator.errors import ConfigError
from blendinator.pipeline.beam_engine import args_on_shared_files, check_engine, simulation_args


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port(port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.mark.parametrize(
    "runner",
    ["PortableRunner --job_endpoint=", "FlinkRunner --flink_master=", "SparkRunner --spark_master_url=spark://"],
)
def test_an_address_must_answer(runner, port, closed_port):
    check_engine(f"--runner={runner}127.0.0.1:{port}".split())
    with pytest.raises(ConfigError, match="nothing answers there .*Start the engine, or correct the address"):
        check_engine(f"--runner={runner}127.0.0.1:{closed_port}".split())


def test_a_job_server_must_be_there(port, tmp_path):
    jar = tmp_path / "beam.jar"
    args = ("--runner=FlinkRunner", f"--flink_master=localhost:{port}", f"--flink_job_server_jar={jar}")
    with pytest.raises(ConfigError, match="beam.jar: this file does not exist. Download it .*beam-runners-flink-1.19"):
        check_engine(args)
    jar.touch()
    check_engine(args)


@pytest.mark.parametrize(
    "args", [(), ("--runner=DirectRunner",), ("--runner=FlinkRunner", "--flink_master=[local]"), ("--runner=Dataflow",)]
)
def test_what_has_no_address_is_not_asked(args):
    check_engine(args)


def test_which_engine_takes_which_job():
    flink, local = ("--runner=FlinkRunner", "--flink_master=a:1"), ("--direct_num_workers=2",)
    dataflow = ("--runner=DataflowRunner", "--project=p")
    assert [simulation_args(args) for args in (flink, local, dataflow, ())] == [flink, None, None, None]
    assert [args_on_shared_files(args) for args in (flink, local, dataflow, ())] == [flink, local, (), ()]
