"""The check by Triton, with small programs in place of its Python. tests/test_triton.py has the real one."""

import os
import signal
import sys

import numpy as np
import pytest

from blendinator.components.export_check import triton
from blendinator.errors import ConfigError, ServiceError

IMAGES = np.arange(8, dtype=np.float32).reshape(4, 1, 2)
EXPECTED = {
    "serving_default": {"entropy": 2 * IMAGES},
    "sample": {"samples": np.stack([np.full((3, 1, 2), i % 3, np.uint8) for i in range(4)])},
}
# Answers `serving_default` with twice the image, and `sample` with classes that follow its first pixel, 0, 2, 4 and 6;
# refuses negative images. Called as Triton's Python is: -I PROGRAM MODEL PORT ADDRESS.
STAND_IN = f"""#!{sys.executable}
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {{}})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = {{one["name"]: one["data"] for one in request["inputs"]}}
        image = inputs["image"]
        if min(image) < 0:
            self.answer(500, {{"error": "no negative images"}})
        elif "sample" in self.path:
            count = inputs["num_samples"][0]
            value = [int(image[0]) // 2 % 3] * 2 * count
            self.answer(200, {{"outputs": [{{"name": "samples", "shape": [1, count, 1, 2], "data": value}}]}})
        else:
            value = [2 * pixel for pixel in image]
            self.answer(200, {{"outputs": [{{"name": "entropy", "shape": [1, 1, 2], "data": value}}]}})

    def answer(self, code, content):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

open(os.path.join(sys.argv[3], "pid"), "w").write(str(os.getpid()))
http.server.ThreadingHTTPServer((sys.argv[5], int(sys.argv[4])), Handler).serve_forever()
"""


def program(tmp_path, text):
    path = tmp_path / "python"
    path.write_text(text)
    path.chmod(0o755)
    return path


def is_running(folder):
    """Whether the process that wrote its number into the folder is still there."""
    try:
        with open(f"/proc/{(folder / 'pid').read_text().strip()}/status") as file:
            return "State:\tZ" not in file.read()
    except FileNotFoundError:
        return False


def ask(tmp_path, image=IMAGES, expected=EXPECTED):
    """The checks of what the stand-in answers: {name: (passed, detail)}."""
    with triton.serve(program(tmp_path, STAND_IN), tmp_path, 60) as url:
        checks = triton.check_served(url, image, expected, 3, 1)
    return {check["name"].split()[1]: (check["passed"], check["detail"]) for check in checks}


def test_the_answers_of_concurrent_clients_are_put_in_order(tmp_path):
    assert ask(tmp_path) == {
        "serving_default": (True, "differ: entropy by up to 0; allowed: 0.1% of the pixels, 0.001"),
        "sample": (True, "differ: samples in 0.000% of the pixels; allowed: 0.1% of the pixels, 0.001"),
    }
    assert not is_running(tmp_path)


def test_answers_that_differ_are_found_with_the_largest_difference(tmp_path):
    entropy, samples = 2 * IMAGES, EXPECTED["sample"]["samples"].copy()
    entropy[2, 0, 1] += 0.25
    samples[3, 0, 0, 1] = 1  # of 24 pixels
    assert ask(tmp_path, expected={"serving_default": {"entropy": entropy}, "sample": {"samples": samples}}) == {
        "serving_default": (False, "differ: entropy by up to 0.25; allowed: 0.1% of the pixels, 0.001"),
        "sample": (False, "differ: samples in 4.167% of the pixels; allowed: 0.1% of the pixels, 0.001"),
    }


def test_a_server_that_refuses_the_images_fails_the_check(tmp_path):
    found = ask(tmp_path, image=-1 - IMAGES)
    assert set(found.values()) == {(False, 'the server refuses with code 500: {"error": "no negative images"}')}


def test_values_that_are_no_numbers_differ():
    passed, detail = triton.compare({"entropy": np.array([0.5, np.nan])}, {"entropy": np.array([0.5, 0.5])})
    assert not passed and "entropy by up to nan" in detail


def test_other_outputs_than_the_saved_models_are_named():
    found, expected = {"entropy": np.zeros((1, 2))}, {"entropy": np.zeros((1, 3)), "class_map": np.zeros((1, 3))}
    passed, detail = triton.compare(found, expected)
    assert not passed
    assert detail == "received the outputs {'entropy': [1, 2]}; expected {'entropy': [1, 3], 'class_map': [1, 3]}"


@pytest.mark.parametrize("name", ["missing", ""])  # no file; a folder
def test_without_triton_the_message_says_how_to_install_it(tmp_path, name):
    message = (
        "serving.triton_python: received '.*'; there is no such program. Install Triton: .sh scripts/triton.sh setup"
    )
    with pytest.raises(ConfigError, match=message), triton.serve(tmp_path / name, tmp_path, 1):
        pass


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(tmp_path):
    python = program(tmp_path, "#!/bin/sh\nseq 1000\necho No module named pytriton >&2\nexit 3\n")
    with pytest.raises(ServiceError) as error, triton.serve(python, tmp_path / "model", 60):
        pass
    lines = str(error.value).splitlines()
    assert lines[0] == (
        f"Triton, serving {tmp_path}/model: the server ended with code 3 before it was ready. Its log ends with:"
    )
    assert lines[-2:] == ["1000", "No module named pytriton"] and len(str(error.value)) < triton.LOG_TAIL + 300


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])  # also one that does not stop when it is told to
def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path, monkeypatch, trap):
    monkeypatch.setattr(triton, "STOP_SECONDS", 0.5)
    python = program(tmp_path, f"#!/bin/sh\n{trap}echo $$ > {tmp_path}/pid; echo loading\nwhile :; do sleep 1; done\n")
    message = "was not ready within 1 s. Raise serving.triton_timeout if it needs longer. Its log ends with:\nloading"
    with pytest.raises(ServiceError, match=message), triton.serve(python, tmp_path, 1):
        pass
    assert not is_running(tmp_path)


def test_a_server_that_dies_while_it_is_asked_is_no_verdict_on_the_model(tmp_path):
    message = "Triton, serving .*: .*refused.* Its log ends with:"
    with pytest.raises(ServiceError, match=message), triton.serve(program(tmp_path, STAND_IN), tmp_path, 60) as url:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        while triton.is_ready(url, "blendinator"):
            pass
        triton.check_served(url, IMAGES, EXPECTED, 3, 1)


def test_the_server_is_stopped_when_the_run_is_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), triton.serve(program(tmp_path, STAND_IN), tmp_path, 60):
        assert is_running(tmp_path)
        raise KeyboardInterrupt
    assert not is_running(tmp_path)
