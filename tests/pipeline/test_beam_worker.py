"""The worker that PROCESS environments start."""

from concurrent import futures

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc

from blendinator.pipeline.beam_worker import main, provision_info, worker_environment


class Service(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    def GetProvisionInfo(self, request, context):
        info = beam_provision_api_pb2.ProvisionInfo(runner_capabilities=["beam:protocol:x"])
        info.control_endpoint.url = "localhost:4711"
        info.pipeline_options.update({"beam:option:job_name:v1": dict(context.invocation_metadata())["worker_id"]})
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


@pytest.fixture
def address():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


def test_the_engine_says_where_the_work_is(address):
    environment = worker_environment(provision_info(address, "2-1"), "2-1", "/scratch")
    assert environment == {
        "WORKER_ID": "2-1",
        "SEMI_PERSISTENT_DIRECTORY": "/scratch",
        "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "localhost:4711"\n',
        "PIPELINE_OPTIONS": '{"beam:option:job_name:v1": "2-1"}',
        "RUNNER_CAPABILITIES": "beam:protocol:x",
    }


def test_it_needs_the_address(capsys):
    with pytest.raises(SystemExit):
        main(["--id=1-1"])
    assert "--provision_endpoint" in capsys.readouterr().err
