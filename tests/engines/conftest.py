"""Beam's engines in processes of their own: `job_service` (Beam's own) and `flink` (a session cluster).

Each fixture gives the arguments that send a job there. Flink is started only where `make test-flink` has set it up.
"""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from blendinator.config import SimulationConfig
from blendinator.config_loader import config_from_dict
from blendinator.data import spans
from blendinator.data.simulate import simulate_span

ROOT = Path(__file__).resolve().parent.parent.parent
FLINK = ROOT / ".tools" / "flink"
CONFIG = """\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.memory.process.size: 1g
rest.port: {rest}
rest.address: localhost
taskmanager.numberOfTaskSlots: 1
taskmanager.memory.process.size: 1400m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.network.sort-shuffle.min-buffers: 16
classloader.resolve-order: parent-first
heartbeat.interval: 5000
heartbeat.timeout: 50000
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 5
restart-strategy.fixed-delay.delay: 1s
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes(contextlib.ExitStack):
    """Programs that are ended with the block; their output goes to files below `folder`."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def start(self, name: str, *command) -> subprocess.Popen:
        log = self.enter_context(open(self.folder / f"{name}.log", "wb"))  # noqa: SIM115
        # Beam starts its programs by name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment, cwd=ROOT)
        self.callback(self._stop, process)
        return process

    @staticmethod
    def _stop(process):
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def listen(self, name: str, port: int, *command, seconds: float = 600) -> subprocess.Popen:
        """Starts a program and waits until it accepts connections."""
        process, end = self.start(name, *command), time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return process
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"{name} does not listen on port {port}; exit code {process.poll()}; see {self.folder}")


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory):
    """The arguments for Python workers in Beam's worker pool."""
    port = free_port()
    with Processes(tmp_path_factory.mktemp("workers")) as processes:
        module = "apache_beam.runners.worker.worker_pool_main"
        processes.listen("pool", port, sys.executable, "-m", module, "--service_port", port)
        yield [
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{port}",
            "--sdk_container_image=none",  # else TFX packs itself for the workers
        ]


@pytest.fixture(scope="session")
def job_service(tmp_path_factory, worker_pool):
    """Beam's own job service."""
    port = free_port()
    with Processes(tmp_path_factory.mktemp("job-service")) as processes:
        module = "apache_beam.runners.portability.local_job_service_main"
        processes.listen("service", port, sys.executable, "-m", module, "--port", port)
        endpoint = f"--job_endpoint=localhost:{port}"
        yield ["--runner=PortableRunner", endpoint, "--job_server_timeout=3600", *worker_pool]


class FlinkCluster:
    """A job manager, and task managers that can be killed."""

    def __init__(self, processes: Processes, rest: int):
        self.address, self.processes = f"localhost:{rest}", processes
        self.task_managers: dict[str, subprocess.Popen] = {}

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=10) as answer:
            return json.load(answer)

    def failures(self) -> list[dict]:
        """What the newest job has recovered from."""
        newest = max(self.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])
        return self.ask(f"jobs/{newest['jid']}/exceptions")["exceptionHistory"]["entries"]

    def _slots(self) -> int:
        with contextlib.suppress(urllib.error.HTTPError):  # 503 while it starts
            return self.ask("overview")["slots-total"]
        return 0

    def add_task_manager(self, name: str) -> None:
        command = ("sh", ROOT / "scripts/flink.sh", "taskmanager", self.processes.folder, name)
        self.task_managers[name] = self.processes.start(name, *command)

    def wait_for_slots(self, number: int, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while self._slots() != number:
            assert time.monotonic() < end, f"Flink has not {number} slots: see {self.processes.folder}"
            time.sleep(0.3)


@pytest.fixture(scope="session")
def flink_cluster(tmp_path_factory):
    """A session cluster with two task managers of one slot each."""
    if not (FLINK / ".complete").is_file():
        pytest.skip("Flink is not set up here: `make test-flink` does it")
    folder, rest = tmp_path_factory.mktemp("flink"), free_port()
    (folder / "config.yaml").write_text(CONFIG.format(rest=rest, rpc=free_port()))
    with Processes(folder) as processes:
        processes.listen("jobmanager", rest, "sh", ROOT / "scripts/flink.sh", "jobmanager", folder)
        cluster = FlinkCluster(processes, rest)
        for name in ("one", "two"):
            cluster.add_task_manager(name)
        cluster.wait_for_slots(2)
        yield cluster


@pytest.fixture(scope="session")
def flink(flink_cluster, tmp_path_factory):
    """The cluster, with a process for each Python worker, as docs/beam.md says."""
    worker = tmp_path_factory.mktemp("worker") / "worker"  # the installed one may be of another checkout
    worker.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m blendinator.pipeline.beam_worker "$@"\n')
    worker.chmod(0o755)
    return [
        "--runner=FlinkRunner",
        f"--flink_master={flink_cluster.address}",
        "--flink_version=1.19",
        f"--flink_job_server_jar={FLINK / 'beam-job-server.jar'}",
        "--parallelism=2",
        "--environment_cache_millis=60000",
        "--environment_type=PROCESS",
        f"--environment_config={json.dumps({'command': str(worker)})}",
        "--sdk_container_image=none",
    ]


@pytest.fixture(scope="module", params=["job_service", "flink"])
def beam_args(request):
    """The arguments that send a job to each engine in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def small_simulation() -> SimulationConfig:
    """20 scenes of 32 x 32 pixels in 5 files."""
    scenes = {"train_scenes": 12, "calibration_scenes": 4, "test_scenes": 4}
    return config_from_dict({"simulation": {**scenes, "stamp_size": 32, "scenes_per_shard": 4}}).simulation


@pytest.fixture(scope="session")
def small_span(tmp_path_factory, small_simulation) -> Path:
    """Span 1, simulated in process."""
    root = tmp_path_factory.mktemp("small-span")
    simulate_span(small_simulation, root, 1, workers=1)
    return spans.span_dir(root, 1)


@pytest.fixture
def digests():
    """`digests(folder)`: {name: SHA-256} of the files in a folder."""
    return lambda folder: {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()
    }
