"""What a Flink cluster may do to a job."""

import threading
import time

from blendinator.data import spans
from blendinator.data.shards import PARTS
from blendinator.data.simulate import simulate_span


def test_a_killed_task_manager_loses_nothing(flink_cluster, flink, small_simulation, small_span, digests, tmp_path):
    folder = spans.span_dir(tmp_path, 1)
    killed = []

    def kill_one():
        end = time.monotonic() + 900
        while not any((folder / PARTS).glob("*.json")) and time.monotonic() < end:
            time.sleep(0.05)
        victim = flink_cluster.task_managers.pop("one")
        victim.kill()
        victim.wait()
        killed.append(not (folder / spans.MANIFEST).exists())
        flink_cluster.add_task_manager("three")

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        simulate_span(small_simulation, tmp_path, 1, pipeline_args=tuple(flink))
    finally:
        thread.join()
    assert killed == [True]
    assert digests(folder) == digests(small_span)
    assert flink_cluster.failures()
