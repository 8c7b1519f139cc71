"""The check by a server: NVIDIA's Triton serves the model on this machine and is queried by the KServe protocol.

Triton's package needs a different Python, so the server runs in an environment of its own, by the program
`triton_server.py`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

from blendinator.components.export_check.signatures import TOLERANCE, share
from blendinator.errors import ConfigError, ServiceError

MODELS = {"serving_default": "blendinator", "sample": "blendinator_sample"}  # Triton's names, by signature
DATATYPES = {"float32": "FP32", "int32": "INT32"}  # KServe's names
SERVER = Path(__file__).with_name("triton_server.py")
CLIENTS = 4  # requests that are on their way at once
ANSWER_SECONDS = 300
STOP_SECONDS = 60
LOG_TAIL = 2000  # characters of the server's log that a message shows
INSTALL = (
    "Install Triton: `sh scripts/triton.sh setup` in a checkout, or `pip install nvidia-pytriton==0.7.0"
    " tensorflow-cpu==2.16.2 'numpy<2' 'setuptools<81'` in an environment of Debian's python3.11, which needs its"
    " shared library (apt-get install python3.11-venv libpython3.11). Or set serving.infra_check: savedmodel."
)


def require_python(python: str | Path) -> Path:
    """The absolute path of the Python that has Triton; raises ConfigError when `python` is not a program."""
    path = Path(python).expanduser().absolute()  # not resolved: the link in an environment tells which one it is
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ConfigError(f"serving.triton_python: received '{python}'; there is no such program. {INSTALL}")
    return path


@contextlib.contextmanager
def serve(python: str | Path, model_dir: str | Path, seconds: float) -> Iterator[str]:
    """The address of a Triton server of a SavedModel on this machine, http://127.0.0.1:PORT, which ends with the block.

    Args:
      python: the Python that has Triton.
      model_dir: folder of the SavedModel.
      seconds: how long the server may take until it is ready.

    Raises:
      ConfigError: `python` is not a program.
      ServiceError: the server ended, was not ready in time, or a request in the block found no answer. The message
        ends with the end of the server's log.
    """
    port = unused_ports()
    url = f"http://127.0.0.1:{port}"
    # -I keeps our packages off its sys.path.
    command = [str(require_python(python)), "-I", str(SERVER), str(Path(model_dir).absolute()), str(port), "127.0.0.1"]
    others = ("PYTHONPATH", "PYTHONHOME")  # they are for our Python
    environment = {name: value for name, value in os.environ.items() if name not in others}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # the server ends when it is closed, as it is when this process is killed
            stdout=log,
            stderr=log,
            env=environment | {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            start_new_session=True,  # Ctrl-C reaches us alone, and the server's children are one group
        )
        try:
            wait_until_ready(process, url, seconds)
            yield url
        except OSError as error:
            raise ServiceError(f"Triton, serving {model_dir}: {error}. Its log ends with:\n{tail(log)}")
        finally:
            stop(process)


def wait_until_ready(process: subprocess.Popen, url: str, seconds: float) -> None:
    """Raises OSError when the server ends before it is ready with all models, or is not ready in time."""
    end = time.monotonic() + seconds
    while not all(is_ready(url, model) for model in MODELS.values()):
        if process.poll() is not None:
            raise OSError(f"the server ended with code {process.returncode} before it was ready")
        if time.monotonic() > end:
            raise OSError(
                f"the server was not ready within {seconds:g} s. Raise serving.triton_timeout if it needs longer"
            )
        time.sleep(0.5)


def is_ready(url: str, model: str) -> bool:
    """Whether a server answers that a model is ready."""
    try:
        with urllib.request.urlopen(f"{url}/v2/models/{model}/ready", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def stop(process: subprocess.Popen) -> None:
    """Ends the server in order, or at once when it takes too long."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # closes the pipe and waits


def tail(log: IO[bytes]) -> str:
    """The end of a log, which is an open binary file."""
    log.seek(0)
    return log.read().decode(errors="replace").strip()[-LOG_TAIL:] or "(nothing)"


def unused_ports() -> int:
    """The first of two successive ports on which nothing listens."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def infer(url: str, model: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """A request and its answer's arrays. Raises urllib.error.HTTPError when the server refuses, OSError without it."""
    body = {
        "inputs": [
            {
                "name": name,
                "shape": list(value.shape),
                "datatype": DATATYPES[str(value.dtype)],
                "data": value.ravel().tolist(),
            }
            for name, value in inputs.items()
        ]
    }
    request = urllib.request.Request(f"{url}/v2/models/{model}/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        found = json.load(answer)["outputs"]
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in found}


def infer_concurrently(
    url: str, signature: str, images: Sequence[np.ndarray], **others: np.ndarray
) -> dict[str, np.ndarray]:
    """A signature's answers to images [H, W] or [H, W, C], each by a request of its own, as one batch."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda image: infer(url, MODELS[signature], image=image[None], **others), images))
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def check_served(
    url: str,
    image: np.ndarray,
    expected: Mapping[str, Mapping[str, np.ndarray]],
    num_samples: int,
    seed: int,
) -> list[dict]:
    """One check for each signature: whether a server answers concurrent clients as the SavedModel does.

    Args:
      url: address of the server.
      image: float32, electrons per pixel, in the shape that the signatures take.
      expected: the SavedModel's outputs for `image`, by signature and name; `sample` with `num_samples` and `seed`.
      num_samples: number of samples.
      seed: their seed.

    Returns:
      Dictionaries with `name`, `passed` and `detail`, as in the report.

    Raises:
      OSError: no answer.
    """
    others = {"sample": {"num_samples": np.array([num_samples], np.int32), "seed": np.array([seed, 0], np.int32)}}
    checks = []
    for signature in MODELS:
        try:
            found = infer_concurrently(url, signature, image, **others.get(signature, {}))
            passed, detail = compare(found, expected[signature])
        except urllib.error.HTTPError as error:  # an answer: the model does not run there
            passed, detail = (
                False,
                f"the server refuses with code {error.code}: {error.read(500).decode('utf-8', 'replace')}",
            )
        checks.append({"name": f"Triton: {signature} as the SavedModel's", "passed": passed, "detail": detail})
    return checks


def compare(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> tuple[bool, str]:
    """Whether a server's outputs are those of the SavedModel, and how far each is from it.

    Classes (uint8) may differ in a share of the pixels of `TOLERANCE`, other values by as much.
    """
    shapes, allowed = ({name: list(np.shape(value)) for name, value in one.items()} for one in (found, expected))
    if shapes != allowed:
        return False, f"received the outputs {shapes}; expected {allowed}"
    passed, differences = True, []
    for name, value in expected.items():
        if value.dtype == np.uint8:
            differ = found[name] != value
            passed &= bool(differ.mean() <= TOLERANCE)
            differences.append(f"{name} in {share(differ)} of the pixels")
        else:
            largest = np.abs(found[name] - value).max()
            passed &= bool(largest <= TOLERANCE)
            differences.append(f"{name} by up to {largest:.3g}")
    return passed, f"differ: {', '.join(differences)}; allowed: {TOLERANCE:.1%} of the pixels, {TOLERANCE}"
