"""Measures a running server: clients that each send one 64 x 64 image after another.

    python scripts/triton/load.py HTTP_PORT [SECONDS] [CLIENTS ...]

Prints a line per number of clients: requests per second, median and 99th percentile of the time to an answer.
"""

import sys
import threading
import time

import numpy as np
import tritonclient.http as http


def client(address: str, end: float, seed: int, times: list) -> None:
    """Sends requests until `end` and notes how long each took, in seconds."""
    connection = http.InferenceServerClient(address, connection_timeout=600, network_timeout=600)
    image = np.random.default_rng(seed).normal(0, 30, (1, 64, 64)).astype(np.float32)
    given = http.InferInput("image", list(image.shape), "FP32")
    given.set_data_from_numpy(image)
    while time.monotonic() < end:
        start = time.monotonic()
        connection.infer("blendinator", [given]).as_numpy("class_map")
        times.append(time.monotonic() - start)


def measure(address: str, seconds: float, clients: int) -> str:
    """One line of the table."""
    times: list = []
    start = time.monotonic()
    threads = [threading.Thread(target=client, args=(address, start + seconds, seed, times)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - start
    median, p99 = np.percentile(times, [50, 99]) * 1000
    return f"{clients} clients: {len(times) / elapsed:.1f} requests/s, median {median:.0f} ms, p99 {p99:.0f} ms"


if __name__ == "__main__":
    port, seconds = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 20
    measure(f"127.0.0.1:{port}", 1, 1)  # the first request of a shape traces the graph
    for clients in map(int, sys.argv[3:] or ("1", "4", "16")):
        print(measure(f"127.0.0.1:{port}", seconds, clients), flush=True)
