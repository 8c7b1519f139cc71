"""Submitting and scheduling, against a server with Kubeflow's endpoints made from the models of kfp-server-api."""

import http.server
import json
import re
import socket
import threading
import urllib.parse

import kfp_server_api
import pytest
import yaml
from click.testing import CliRunner

from blendinator.errors import ConfigError, DataError, ServiceError
from blendinator.pipeline.commands.kubeflow import kubeflow
from blendinator.pipeline.kubeflow.client import ATTEMPTS, Cluster

KINDS = {
    "pipelines": ("pipeline_id", kfp_server_api.V2beta1Pipeline),
    "experiments": ("experiment_id", kfp_server_api.V2beta1Experiment),
    "runs": ("run_id", kfp_server_api.V2beta1Run),
    "recurringruns": ("recurring_run_id", kfp_server_api.V2beta1RecurringRun),
    "versions": ("pipeline_version_id", kfp_server_api.V2beta1PipelineVersion),
}
LISTS = {
    "pipelines": "pipelines",
    "experiments": "experiments",
    "runs": "runs",
    "recurringruns": "recurringRuns",
    "versions": "pipeline_versions",
}


class Fake(http.server.ThreadingHTTPServer):
    """Holds what was made, answers as told, and notes each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server_address[1]}"
        self.things = {kind: [] for kind in KINDS}
        self.requests, self.headers = [], []
        self.faults = {}  # (method, start of the path) -> list of (status, whether the request is carried out)
        self.html = self.multi_user = False

    def posted(self, kind):
        return [path for method, path in self.requests if method == "POST" and kind in path]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.handle_request("GET")

    def do_POST(self):
        self.handle_request("POST")

    def do_DELETE(self):
        self.handle_request("DELETE")

    def handle_request(self, method):
        fake = self.server
        url = urllib.parse.urlparse(self.path)
        path, query = url.path.removeprefix("/apis/v2beta1/"), dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fake.requests.append((method, path))
        fake.headers.append({key.lower(): value for key, value in self.headers.items()})
        faults = fake.faults.get((method, path), [])
        status, carried_out = faults.pop(0) if faults else (200, True)
        answer = self.carry_out(method, path, query, body) if carried_out else {}
        if status >= 400:
            answer = {"code": 5, "message": f"no luck with {path}", "details": []}
        text = "<html>Log in</html>" if fake.html else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if fake.html else "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def carry_out(self, method, path, query, body):
        fake = self.server
        if path == "healthz":
            return {"multi_user": fake.multi_user}
        if path.startswith("pipelines/upload"):
            assert re.search(rb'name="uploadfile"', body) and b"schemaVersion: 2.1.0" in body
            kind = "versions" if path.endswith("upload_version") else "pipelines"
            parent = {"pipeline_id": query["pipelineid"]} if kind == "versions" else {}
            return self.add(kind, {"display_name": query["name"], **parent})
        kind = "versions" if path.endswith("/versions") else path.split("/")[0]
        if method == "DELETE":
            fake.things[kind] = [thing for thing in fake.things[kind] if thing[KINDS[kind][0]] != path.split("/")[1]]
            return {}
        if method == "POST":
            return self.add(kind, json.loads(body))
        wanted = {
            entry["key"]: entry["stringValue"] for entry in json.loads(query.get("filter", "{}")).get("predicates", [])
        }
        wanted |= {key: query[key] for key in ("experiment_id",) if key in query}
        found = [thing for thing in fake.things[kind] if all(thing.get(key) == value for key, value in wanted.items())]
        return {LISTS[kind]: found} if found else {}

    def add(self, kind, thing):
        key, model = KINDS[kind]
        assert set(thing) <= set(model.attribute_map.values()), thing
        thing[key] = f"{kind}-{len(self.server.things[kind])}"
        self.server.things[kind].append(thing)
        return thing


@pytest.fixture
def fake():
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pipeline.yaml"
    inputs = {
        "parameters": {
            "spans": {"parameterType": "STRING", "defaultValue": "latest"},
            "train_args": {"parameterType": "STRING", "defaultValue": ""},
        }
    }
    path.write_text(
        yaml.safe_dump(
            {
                "schemaVersion": "2.1.0",
                "pipelineInfo": {"name": "blendinator"},
                "deploymentSpec": {"executors": {}},
                "root": {"dag": {"tasks": {}}, "inputDefinitions": inputs},
            }
        )
    )
    return path


@pytest.fixture
def cluster(fake):
    return Cluster(fake.host, wait=lambda seconds: None)


def test_submit_makes_pipeline_version_experiment_and_run(cluster, fake, file):
    made = cluster.submit(file, "nightly", "blendinator-1", {"spans": "1-3"}, "robot")
    [run] = fake.things["runs"]
    assert made == run["run_id"] and run["display_name"] == "blendinator-1" and run["service_account"] == "robot"
    assert run["runtime_config"]["parameters"] == {"spans": "1-3"}
    assert run["experiment_id"] == fake.things["experiments"][0]["experiment_id"]
    assert fake.things["experiments"][0]["display_name"] == "nightly"
    reference = run["pipeline_version_reference"]
    assert reference["pipeline_id"] == fake.things["pipelines"][0]["pipeline_id"]
    assert reference["pipeline_version_id"] == fake.things["versions"][0]["pipeline_version_id"]
    assert fake.things["pipelines"][0]["display_name"] == "blendinator"


def test_the_same_file_is_uploaded_once_and_another_one_is_a_new_version(cluster, fake, file):
    for name in ("a", "b"):
        cluster.submit(file, "nightly", name, {})
    assert [len(fake.things[kind]) for kind in ("pipelines", "versions", "experiments", "runs")] == [1, 1, 1, 2]
    file.write_text(file.read_text() + "# changed\n")
    cluster.submit(file, "nightly", "c", {})
    assert [len(fake.things[kind]) for kind in ("pipelines", "versions")] == [1, 2]


def test_schedule_runs_one_at_a_time_without_catch_up_and_replaces_its_predecessor(cluster, fake, file):
    first = cluster.schedule(file, "nightly", "blendinator", "0 3 * * 1", {"spans": "latest:3"})
    second = cluster.schedule(file, "nightly", "blendinator", "0 4 * * 1", {"spans": "latest:3"})
    [schedule] = fake.things["recurringruns"]
    assert first != second == schedule["recurring_run_id"]
    assert schedule["no_catchup"] is True and str(schedule["max_concurrency"]) == "1" and schedule["mode"] == "ENABLE"
    assert schedule["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * 1"}}
    assert schedule["runtime_config"]["parameters"] == {"spans": "latest:3"}


def test_token_and_cookies_are_sent(fake):
    Cluster(fake.host, token="abc", cookies="session=1").experiment("nightly")
    assert len(fake.headers) == 3
    assert {headers.get("authorization") for headers in fake.headers} == {"Bearer abc"}
    assert {headers.get("cookie") for headers in fake.headers} == {"session=1"}


def test_a_fault_of_the_server_is_tried_again_and_nothing_is_made_twice(cluster, fake, file):
    fake.faults = {
        ("POST", "runs"): [(503, True)],
        ("GET", "pipelines"): [(500, False), (502, False)],
        ("POST", "pipelines/upload_version"): [(504, True)],
    }
    cluster.submit(file, "nightly", "blendinator-1", {})
    assert [len(fake.things[kind]) for kind in ("pipelines", "versions", "runs")] == [1, 1, 1]


def test_a_schedule_that_a_fault_doubled_is_removed(cluster, fake, file):
    fake.faults = {("POST", "recurringruns"): [(500, True)]}
    made = cluster.schedule(file, "nightly", "blendinator", "0 3 * * 1", {})
    assert [schedule["recurring_run_id"] for schedule in fake.things["recurringruns"]] == [made]


@pytest.mark.parametrize(
    "status, message",
    [
        (
            401,
            r"pipeline blendinator: the server refuses \(401: no luck with pipelines\). Set KUBEFLOW_TOKEN to a valid",
        ),
        (403, r"the server refuses \(403"),
        (404, r"the server has nothing of this name \(404.*Check that `host` is the address"),
        (409, r"there is one of this name already \(409.*change `name`"),
        (400, r"the server does not accept this \(400: no luck"),
    ],
)
def test_refusals_are_not_tried_again(cluster, fake, file, status, message):
    fake.faults = {("GET", "pipelines"): [(status, False)] * 2}
    with pytest.raises(ServiceError, match=message):
        cluster.upload(file)
    assert fake.requests.count(("GET", "pipelines")) == 1


def test_a_lasting_fault(fake, file):
    waited = []
    cluster = Cluster(fake.host, wait=waited.append)
    fake.faults = {("GET", "pipelines"): [(503, False)] * ATTEMPTS}
    with pytest.raises(
        ServiceError, match=r"the server has a fault \(503.*4 times. Look at the logs of the pod ml-pipeline"
    ):
        cluster.upload(file)
    assert waited == [1.0, 2.0, 4.0]


def test_no_connection():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServiceError, match=r"the API: the server cannot be reached \(.*refused.*kubectl port-forward"):
        Cluster(address, wait=lambda seconds: None)


def test_a_login_page(fake):
    fake.html = True
    with pytest.raises(
        ServiceError, match="the answer is '<html>Log in</html>' and not that of Kubeflow's API, perhaps a login"
    ):
        Cluster(fake.host)


def test_an_installation_with_users_needs_a_namespace(fake):
    fake.multi_user = True
    with pytest.raises(ConfigError, match="kubeflow.namespace: received ''; allowed: a namespace of yours"):
        Cluster(fake.host)
    Cluster(fake.host, "mine").experiment("nightly")
    assert fake.things["experiments"][0]["namespace"] == "mine"


def test_no_address():
    with pytest.raises(ConfigError, match="`host`: received ''; allowed: http://"):
        Cluster("")


def test_wrong_cron_parameter_and_file(cluster, file, tmp_path):
    with pytest.raises(ConfigError, match=r"`cron`: received '0 0 3 \* \* 1', which has 6 fields"):
        cluster.schedule(file, "e", "n", "0 0 3 * * 1", {})
    with pytest.raises(ConfigError, match="parameter span: .* has no such parameter; allowed: spans, train_args"):
        cluster.submit(file, "e", "n", {"span": "1"})
    with pytest.raises(DataError, match="nothing.yaml: this file cannot be read"):
        cluster.submit(tmp_path / "nothing.yaml", "e", "n", {})


def test_commands(fake, file, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"name: weekly\nkubeflow: {{host: '{fake.host}', experiment: nightly}}\n")
    arguments = [str(file), "--config", str(config), "--spans", "latest:3"]
    scheduled = CliRunner().invoke(kubeflow, ["schedule", "--cron", "0 3 * * 1", "--training-steps", "9", *arguments])
    assert scheduled.exit_code == 0, scheduled.output
    [schedule] = fake.things["recurringruns"]
    assert schedule["display_name"] == "weekly" and f"schedule {schedule['recurring_run_id']}" in scheduled.output
    parameters = schedule["runtime_config"]["parameters"]
    assert parameters["spans"] == "latest:3"
    assert json.loads(parameters["train_args"]) == {"splits": ["train"], "num_steps": 9}
    submitted = CliRunner().invoke(kubeflow, ["submit", *arguments])
    assert submitted.exit_code == 0 and re.search(r"^run runs-0$", submitted.output, re.MULTILINE), submitted.output
    assert fake.things["runs"][0]["display_name"].startswith("weekly-")
