"""A process that has imported everything and computed nothing, and forks a child for each command line it receives.

Reads requests from standard input, one JSON object a line, and answers each with one on standard output. A request has
`arguments` of `blendinator`, and may have
- `step` and `fault`: name of a component (or "simulation"), and what happens when it has done its work and has not
  recorded it: a key of FAULTS; with `before`, when it is about to start;
- `after` and `signal`: seconds after which the child gets this signal;
- `clock`: seconds by which the clock is ahead for our code.
The answer has `status` as of a shell, `output` (both streams), `seconds`, `killed` (by a signal that it did not
handle), and `left`, the number of its processes that outlived it.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import blendinator

# isort: split

from tfx.orchestration.portable import launcher

import blendinator.data.simulate
import blendinator.model.trainer
import blendinator.model.versions
import blendinator.pipeline.dag
import blendinator.pipeline.history.report
import blendinator.pipeline.run
import blendinator.pipeline.space
from blendinator.pipeline import cli

FILLER = "filler"
SPARE = 100_000_000
CLONE_NEWNS = 0x20000  # a mount namespace of its own, for unshare(2)
LEFT_SECONDS = 20  # for processes of a killed one to notice that they are alone


def kill(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(folder):
    os.kill(os.getpid(), signal.SIGTERM)


def fill_disk(folder):
    """Leaves no byte on the disk of `folder`."""
    with open(Path(folder) / FILLER, "ab", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def serve_read_only(folder):
    """Makes the folder of the pushed versions read-only, also for root, in the eyes of this process."""
    serving = str(Path(folder) / "serving")
    os.makedirs(serving, exist_ok=True)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    for arguments in (["--make-rprivate", "/"], ["--bind", serving, serving], ["-o", "remount,ro,bind", serving]):
        subprocess.run(["mount", *arguments], check=True)


def limit_memory(folder):
    """Leaves this process SPARE more bytes of address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE,) * 2)


FAULTS = {
    "kill": kill,
    "terminate": terminate,
    "fill_disk": fill_disk,
    "serve_read_only": serve_read_only,
    "limit_memory": limit_memory,
}


def plant(request):
    """Makes the fault of a request happen in this process."""
    folder = request.get("folder")
    if "clock" in request:
        # Of our own modules: libraries in C go by the machine's clock, and grpc compares the two.
        ahead = types.SimpleNamespace(**{**vars(time), "time": lambda: time.time() + request["clock"]})
        blendinator.pipeline.run.time = blendinator.model.versions.time = ahead
    if "step" not in request:
        return
    fault = FAULTS[request["fault"]]
    run_executor, simulate_span = launcher.Launcher._run_executor, blendinator.data.simulate.simulate_span

    def faulty(self, info):
        here = info.pipeline_node.node_info.id == request["step"]
        if here and request.get("before"):
            fault(folder)
        output = run_executor(self, info)
        if here and not request.get("before"):
            fault(folder)
        return output

    launcher.Launcher._run_executor = faulty
    if request["step"] == "simulation":

        def faulty_simulation(*args, progress, **more):
            if request.get("before"):
                fault(folder)
            else:
                progress = lambda done, total: done and fault(folder)
            return simulate_span(*args, progress=progress, **more)

        blendinator.data.simulate.simulate_span = faulty_simulation


def call(request, output):
    """What the child does."""
    os.setpgid(0, 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        plant(request)
        cli.main(request["arguments"])
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(child, request):
    """The child's wait status; sends it the signal that was requested."""
    deadline = time.monotonic() + request.get("after", float("inf"))
    sent = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if not sent and time.monotonic() >= deadline:
            os.kill(child, request["signal"])
            sent = True
        time.sleep(0.02)


def left(group):
    """Number of the group's processes that are there still after a while; they are killed then."""
    deadline = time.monotonic() + LEFT_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return 0
        time.sleep(0.1)
    found = subprocess.run(["ps", "-o", "pid=", "-g", str(group)], capture_output=True, text=True).stdout.split()
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:  # they have ended just now
        return 0
    return max(1, len(found))


def main():
    blendinator.pipeline.space.WORKING_SPACE = 0  # the small disk of a test suffices
    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            child = os.fork()
            if not child:
                call(request, output)
            status = os.waitstatus_to_exitcode(wait(child, request))
            seconds = time.monotonic() - started
            output.seek(0)
            answer = {
                "status": status if status >= 0 else 128 - status,
                "killed": status < 0,
                "output": output.read(),
                "seconds": seconds,
                "left": left(child),
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
