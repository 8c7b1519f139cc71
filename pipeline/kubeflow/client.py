"""Uploads, starts and schedules a compiled pipeline through `kfp.Client`.

Every step first looks for what it would make, so that it can be repeated: after an error of the server it is not known
whether the request was carried out.
"""

import functools
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import kfp_server_api
import urllib3

from blendinator.errors import ConfigError, ServiceError
from blendinator.pipeline.console import without_warnings
from blendinator.pipeline.cron import to_kubeflow
from blendinator.pipeline.kubeflow.simulator import read_pipeline, root_parameters

if TYPE_CHECKING:
    import kfp

T = TypeVar("T")

ATTEMPTS = 4
TIMEOUT = 20  # seconds, for the first request
PAGE = 100
TOKEN, COOKIES = "KUBEFLOW_TOKEN", "KUBEFLOW_COOKIES"  # environment variables


class Cluster:
    """Kubeflow's API at one address."""

    def __init__(
        self,
        host: str,
        namespace: str = "",
        token: str = "",
        cookies: str = "",
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
          host: address, such as http://localhost:8888 or https://kubeflow.example.org/pipeline.
          namespace: of the user, on a multi-user installation.
          token: bearer token, if the installation asks for one.
          cookies: cookies of a logged-in session, likewise.
          wait: called with the seconds between two attempts.

        Raises:
          ConfigError: no address is given.
          ServiceError: the server cannot be reached, refuses, or is not Kubeflow.
        """
        if not host.startswith(("http://", "https://")):
            raise ConfigError(
                f"`host`: received {host!r}; allowed: http://... or https://..., the address of Kubeflow's "
                "API. Give `host` or set kubeflow.host"
            )
        self.host, self.namespace, self.wait = host.rstrip("/"), namespace, wait
        health = self.call("the API", lambda: check_api(self.host, token, cookies))
        if health.get("multi_user") and not namespace:
            raise ConfigError(
                f"kubeflow.namespace: received ''; allowed: a namespace of yours, because {host} has several users"
            )
        self.client = make_client(self.host, namespace, token, cookies)

    def call(self, what: str, function: Callable[[], T]) -> T:
        """Calls a function that makes requests, again when the server has a fault; ServiceError when it stays so.

        Args:
          what: what the requests are about, for messages.
          function: takes no argument, and may be called more than once.
        """
        for attempt in range(ATTEMPTS):
            try:
                return function()
            except kfp_server_api.ApiException as error:
                status, detail = error.status, first_line(error.body) or error.reason
            except urllib.error.HTTPError as error:
                status, detail = error.code, first_line(error.read()) or error.reason
            except (urllib3.exceptions.HTTPError, urllib.error.URLError, TimeoutError, ConnectionError) as error:
                status, detail = None, getattr(error, "reason", error)
            if status and status < 500:
                break
            if attempt < ATTEMPTS - 1:
                self.wait(2.0**attempt)
        raise ServiceError(f"{self.host}: {what}: " + describe(status, detail))

    def upload(self, path: str | Path) -> tuple[str, str]:
        """Makes a version of the pipeline, and the pipeline where there is none; returns their ids.

        A version's name is a hash of the file: the same file is uploaded once.
        """
        spec, _ = read_pipeline(path)
        name = spec["pipelineInfo"]["name"]
        version = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]

        def find_or_make_pipeline() -> str:
            return (
                self.client.get_pipeline_id(name)
                or self.client.upload_pipeline(
                    str(path), pipeline_name=name, namespace=self.namespace or None
                ).pipeline_id
            )

        def find_or_make_version() -> str:
            found = (
                self.client.list_pipeline_versions(pipeline, page_size=PAGE, filter=by_name(version)).pipeline_versions
                or []
            )
            made = (
                found[0]
                if found
                else self.client.upload_pipeline_version(str(path), pipeline_version_name=version, pipeline_id=pipeline)
            )
            return made.pipeline_version_id

        pipeline = self.call(f"pipeline {name}", find_or_make_pipeline)
        return pipeline, self.call(f"version {version} of pipeline {name}", find_or_make_version)

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is made where there is none."""
        return self.call(
            f"experiment {name}",
            lambda: self.client.create_experiment(name=name, namespace=self.namespace or None).experiment_id,
        )

    def submit(
        self, path: str | Path, experiment: str, run_name: str, parameters: dict, service_account: str = ""
    ) -> str:
        """Uploads the pipeline and starts a run of it; returns the run's id.

        Raises:
          ConfigError: the pipeline has no such parameter.
          DataError: the file is not a compiled pipeline.
          ServiceError: see the class.
        """
        check_parameters(path, parameters)
        pipeline, version = self.upload(path)
        where = self.experiment(experiment)

        def find_or_make() -> str:
            found = self.client.list_runs(experiment_id=where, page_size=PAGE, filter=by_name(run_name)).runs or []
            made = (
                found[0]
                if found
                else self.client.run_pipeline(
                    where,
                    run_name,
                    pipeline_id=pipeline,
                    version_id=version,
                    params=parameters,
                    enable_caching=False,
                    service_account=service_account or None,
                )
            )
            return made.run_id

        return self.call(f"run {run_name}", find_or_make)

    def schedule(
        self, path: str | Path, experiment: str, name: str, cron: str, parameters: dict, service_account: str = ""
    ) -> str:
        """Uploads the pipeline and runs it on a schedule, one run at a time, skipping missed ones; returns the id.

        Takes the place of schedules of the same name in the experiment.

        Args:
          path: the compiled pipeline.
          experiment: name of the experiment.
          name: of the schedule.
          cron: five fields, such as "0 3 * * 1" for Mondays at 3.
          parameters: of the runs.
          service_account: of the runs' pods; the installation's default if empty.

        Raises:
          ConfigError, DataError, ServiceError: see `submit`; `cron` is not a cron expression.
        """
        expression = to_kubeflow(cron)
        check_parameters(path, parameters)
        pipeline, version = self.upload(path)
        where = self.experiment(experiment)

        def existing() -> list[str]:
            found = self.client.list_recurring_runs(experiment_id=where, page_size=PAGE, filter=by_name(name))
            return [entry.recurring_run_id for entry in found.recurring_runs or []]

        made = self.call(
            f"schedule {name}",
            lambda: self.client.create_recurring_run(
                where,
                name,
                cron_expression=expression,
                no_catchup=True,
                max_concurrency=1,
                params=parameters,
                pipeline_id=pipeline,
                version_id=version,
                enable_caching=False,
                service_account=service_account or None,
            ),
        ).recurring_run_id
        # After the new one is there: earlier ones, and doubles that an error of the server left behind.
        for other in self.call(f"schedule {name}", existing):
            if other != made:
                self.call(f"schedule {other}", functools.partial(self.client.delete_recurring_run, other))
        return made


def make_client(host: str, namespace: str, token: str, cookies: str) -> "kfp.Client":
    """kfp's client, without its own first request: that one carries no token, and is repeated for half a minute."""
    import kfp

    class Client(kfp.Client):
        def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    with without_warnings():
        return Client(host=host, namespace=namespace, existing_token=token or None, cookies=cookies or None)


def check_parameters(path: str | Path, parameters: dict) -> None:
    """Raises ConfigError when the compiled pipeline has no parameter of a name."""
    root_parameters(read_pipeline(path)[0], parameters, Path(path))


def check_api(host: str, token: str, cookies: str) -> dict:
    """One plain request, for the health of the API: kfp's client would stumble over a login page."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if cookies:
        headers["Cookie"] = cookies
    request = urllib.request.Request(f"{host}/apis/v2beta1/healthz", headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        text = response.read().decode(errors="replace")
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise ServiceError(
            f"{host}: the answer is {first_line(text)!r} and not that of Kubeflow's API, perhaps a login "
            f"page. Give the API's address, and a token in {TOKEN} or a session's cookies in {COOKIES}."
        )


def by_name(name: str) -> str:
    """Kubeflow's filter for a display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def describe(status: int | None, detail: object) -> str:
    """What went wrong and what helps."""
    if status is None:
        return (
            f"the server cannot be reached ({detail}). Check the address and the network; from outside the cluster, "
            "first call `kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888` and use `host` "
            "http://localhost:8888."
        )
    if status in (401, 403):
        return (
            f"the server refuses ({status}: {detail}). Set {TOKEN} to a valid token, or {COOKIES} to a logged-in "
            "session's cookies, and kubeflow.namespace to a namespace of yours."
        )
    if status == 404:
        return (
            f"the server has nothing of this name ({status}: {detail}). Check that `host` is the address of "
            "Kubeflow Pipelines' API, version 2, and the namespace."
        )
    if status == 409:
        return (
            f"there is one of this name already ({status}: {detail}). Remove it on the server, or change `name` or "
            "kubeflow.experiment in the configuration."
        )
    if status >= 500:
        return (
            f"the server has a fault ({status}: {detail}), {ATTEMPTS} times. Look at the logs of the pod ml-pipeline."
        )
    return f"the server does not accept this ({status}: {detail})."


def first_line(body: bytes | str | None) -> str:
    """The message within an answer: Kubeflow's errors are JSON with a key of that name."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        content = json.loads(text)
        text = content.get("error_details") or content.get("message") or text if isinstance(content, dict) else text
    except ValueError:
        pass
    return (text.strip().splitlines() or [""])[0][:200]
