"""The released model on a real server: NVIDIA's Triton, where `make test-triton` has set it up."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from blendinator.model import released

ROOT = Path(__file__).resolve().parent.parent
TRITON = ROOT / ".tools" / "triton"
DATATYPES = {"float32": "FP32", "int32": "INT32"}
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
def address(model, tmp_path_factory, unused_port):
    log = tmp_path_factory.mktemp("triton") / "log"
    command = ["sh", ROOT / "scripts/triton.sh", "serve", model, str(unused_port)]
    with open(log, "wb") as file:  # a session of its own: the server has children
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        url, end = f"http://127.0.0.1:{unused_port}", time.monotonic() + 600
        while not (ready(url, "blendinator") and ready(url, "blendinator_sample")):
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65000)


def ready(url: str, name: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/v2/models/{name}/ready", timeout=10).status == 200
    except OSError:
        return False


def infer(url: str, name: str, **inputs) -> dict[str, np.ndarray]:
    """A request by the KServe protocol, and its answer's arrays."""
    body = {
        "inputs": [
            {
                "name": key,
                "shape": list(value.shape),
                "datatype": DATATYPES[str(value.dtype)],
                "data": value.ravel().tolist(),
            }
            for key, value in inputs.items()
        ]
    }
    request = urllib.request.Request(f"{url}/v2/models/{name}/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=300) as answer:
        found = json.load(answer)["outputs"]
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in found}


def images(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 60, (number, 32, 32)).astype(np.float32)


def check(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == tf.uint8:
            np.testing.assert_array_equal(found[name], value, name)
        else:
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_maps_are_those_of_the_saved_model(address, signatures):
    image = images(2, 0)
    check(infer(address, "blendinator", image=image), signatures["serving_default"](image=tf.constant(image)))


def test_samples_are_those_of_the_saved_model(address, signatures):
    given = {"image": images(1, 1), "num_samples": np.array([3], np.int32), "seed": np.array([7, 1], np.int32)}
    found = infer(address, "blendinator_sample", **given)
    given["num_samples"] = np.int32(3)
    check(found, signatures["sample"](**{name: tf.constant(value) for name, value in given.items()}))


def test_concurrent_clients_get_the_answers_to_their_own_images(address, signatures):
    given = [images(1, seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as clients:
        found = list(clients.map(lambda image: infer(address, "blendinator", image=image), given))
    for image, answer in zip(given, found):
        check(answer, signatures["serving_default"](image=tf.constant(image)))


def test_a_size_that_the_model_does_not_take_is_refused(address):
    with pytest.raises(urllib.error.HTTPError) as error:
        infer(address, "blendinator", image=np.zeros((1, 13, 13), np.float32))
    assert 400 <= error.value.code < 600
    infer(address, "blendinator", image=images(1, 0))  # and the server goes on
