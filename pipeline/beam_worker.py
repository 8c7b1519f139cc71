"""A Python worker of a Beam job in a process of its own, for `--environment_type=PROCESS`: `blendinator-beam-worker`.

Beam's worker pool (EXTERNAL) tells its workers apart by a number that each task manager counts for itself: two task
managers that share a pool end each other's workers, and the job waits forever. A process for each worker needs no
pool, and Beam's own program for this is in its container images only. docs/beam.md has an example.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apache_beam.portability.api.beam_provision_api_pb2 import ProvisionInfo


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker until its engine ends it.

    Args:
      arguments: those of Beam's container contract, --id=1-1 --provision_endpoint=localhost:40001; others are ignored.
        None for the process's own.
    """
    parser = argparse.ArgumentParser(prog="blendinator-beam-worker", allow_abbrev=False)
    parser.add_argument("--id", required=True, help="The worker's name.")
    parser.add_argument("--provision_endpoint", required=True, help="Address of the engine, which says what to do.")
    parser.add_argument("--semi_persist_dir", default="/tmp", help="Folder for files of the job.")
    given, _ = parser.parse_known_args(arguments)

    from apache_beam.runners.worker import sdk_worker_main

    info = provision_info(given.provision_endpoint, given.id)
    os.environ.update(worker_environment(info, given.id, given.semi_persist_dir))
    sdk_worker_main.main(None)


def provision_info(address: str, worker_id: str, seconds: float = 60) -> "ProvisionInfo":
    """What the engine at `address` tells a worker."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        metadata = [("worker_id", worker_id)]
        return service.GetProvisionInfo(request, timeout=seconds, metadata=metadata, wait_for_ready=True).info


def worker_environment(info: "ProvisionInfo", worker_id: str, folder: str) -> dict[str, str]:
    """The variables by which Beam's worker program takes a ProvisionInfo."""
    from google.protobuf import json_format, text_format

    environment = {
        "WORKER_ID": worker_id,
        "SEMI_PERSISTENT_DIRECTORY": folder,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "PIPELINE_OPTIONS": json.dumps(json_format.MessageToDict(info.pipeline_options)),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.logging_endpoint.url:
        environment["LOGGING_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.logging_endpoint)
    return environment


if __name__ == "__main__":
    main()
