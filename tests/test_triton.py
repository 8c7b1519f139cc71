"""The released model on a real server: NVIDIA's Triton, where `make test-triton` has set it up."""

import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from blendinator.components.export_check import triton
from blendinator.errors import ServiceError
from blendinator.model import released

ROOT = Path(__file__).resolve().parent.parent
TRITON = ROOT / ".tools" / "triton"
PYTHON = TRITON / "bin" / "python"
SECONDS = 600  # until a server must be ready
pytestmark = pytest.mark.skipif(
    not (TRITON / ".complete").is_file(), reason="Triton is not set up here: `make test-triton` does it"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return released.unpack(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def signatures(model):
    return tf.saved_model.load(str(model)).signatures


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """Of a server that is started as the documentation says."""
    log, port = tmp_path_factory.mktemp("triton") / "log", triton.unused_ports()
    command = ["sh", ROOT / "scripts/triton.sh", "serve", model, str(port)]
    with open(log, "wb") as file:  # a session of its own: the server has children
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True)
    try:
        try:
            triton.wait_until_ready(process, f"http://127.0.0.1:{port}", SECONDS)
        except OSError:
            pytest.fail(log.read_text()[-2000:])
        yield f"http://127.0.0.1:{port}"
    finally:
        triton.stop(process)


def images(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 60, (number, 32, 32)).astype(np.float32)


def check(found: dict, expected: dict) -> None:
    passed, detail = triton.compare(found, {name: value.numpy() for name, value in expected.items()})
    assert passed, detail


def test_maps_are_those_of_the_saved_model(address, signatures):
    image = images(2, 0)
    check(triton.infer(address, "blendinator", image=image), signatures["serving_default"](image=tf.constant(image)))


def test_samples_are_those_of_the_saved_model(address, signatures):
    given = {"image": images(1, 1), "num_samples": np.array([3], np.int32), "seed": np.array([7, 1], np.int32)}
    found = triton.infer(address, "blendinator_sample", **given)
    given["num_samples"] = np.int32(3)
    check(found, signatures["sample"](**{name: tf.constant(value) for name, value in given.items()}))


def test_concurrent_clients_get_the_answers_to_their_own_images(address, signatures):
    given = [images(1, seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as clients:
        found = list(clients.map(lambda image: triton.infer(address, "blendinator", image=image), given))
    for image, answer in zip(given, found):
        check(answer, signatures["serving_default"](image=tf.constant(image)))


def test_a_size_that_the_model_does_not_take_is_refused(address):
    with pytest.raises(urllib.error.HTTPError) as error:
        triton.infer(address, "blendinator", image=np.zeros((1, 13, 13), np.float32))
    assert 400 <= error.value.code < 600
    triton.infer(address, "blendinator", image=images(1, 0))  # and the server goes on


def test_the_export_check_serves_the_model_and_stops_the_server(model, signatures):
    image, seed = images(6, 2), np.array([5, 0], np.int32)
    expected = {
        "serving_default": signatures["serving_default"](image=tf.constant(image)),
        "sample": signatures["sample"](image=tf.constant(image), num_samples=tf.constant(3), seed=tf.constant(seed)),
    }
    expected = {name: {key: value.numpy() for key, value in one.items()} for name, one in expected.items()}
    with triton.serve(PYTHON, model, SECONDS) as url:
        checks = triton.check_served(url, image, expected, 3, 5)
        other_seed = triton.check_served(url, image, expected, 3, 6)
    assert [check["passed"] for check in checks] == [True, True], checks
    assert [check["passed"] for check in other_seed] == [True, False], other_seed
    assert not triton.is_ready(url, triton.MODELS["sample"])


def test_a_server_that_cannot_load_the_model_says_why(tmp_path):
    with pytest.raises(ServiceError, match="SavedModel file does not exist"), triton.serve(PYTHON, tmp_path, SECONDS):
        pass


def test_the_server_does_not_outlive_a_check_that_is_killed(model):
    program = (
        "import os, signal, sys\n"
        "from blendinator.components.export_check import triton\n"
        f"with triton.serve({str(PYTHON)!r}, {str(model)!r}, {SECONDS}) as url:\n"
        "    print(url, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    url, end = done.stdout.strip(), time.monotonic() + 60
    assert url.startswith("http://127.0.0.1:")
    while triton.is_ready(url, triton.MODELS["sample"]):
        assert time.monotonic() < end, "the server is still there"
        time.sleep(0.5)
