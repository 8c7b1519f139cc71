"""What the configuration names must exist: one message for each mistake."""

import re
from pathlib import Path

import pytest
import yaml

from blendinator.config_loader import config_from_dict
from blendinator.errors import ConfigError
from blendinator.pipeline.config_checks import check_config, read_config

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "raw, message",
    [
        (
            {"name": "Blendinator"},
            "name: received 'Blendinator'; allowed: up to 63 lower-case letters, digits and dashes",
        ),
        ({"name": "-a"}, "name: received '-a'; allowed"),
        ({"name": ""}, "name: received ''; allowed"),
        ({"kubeflow": {"mount_path": "mnt"}}, "kubeflow.mount_path: received 'mnt'; allowed: an absolute path"),
        (
            {"kubeflow": {"secrets": [{"name": "s"}]}},
            r"kubeflow.secrets\[0\]: received .*needs `name` and `mount_path` or `env`",
        ),
        (
            {"kubeflow": {"secrets": [{"name": "s", "env": ["KEY"]}]}},
            r"kubeflow.secrets\[0\].env: received 'KEY'; allowed: key=value",
        ),
        (
            {"kubeflow": {"resources": [{"component": "a"}, {"component": "a"}]}},
            r"kubeflow.resources\[1\].component: received 'a' a second time; allowed: one entry",
        ),
        (
            {"kubeflow": {"resources": [{"node_selector": ["gpu"]}]}},
            r"kubeflow.resources\[0\].node_selector: received 'gpu'; allowed: key=value",
        ),
        (
            {"kubeflow": {"namespace": "My_Space"}},
            r"kubeflow.namespace: received 'My_Space'; allowed: up to 63 lower-case",
        ),
        ({"kubeflow": {"claim": "a b"}}, r"kubeflow.claim: received 'a b'; allowed: lower-case letters"),
        ({"kubeflow": {"service_account": "-x"}}, r"kubeflow.service_account: received '-x'; allowed"),
        (
            {"kubeflow": {"secrets": [{"name": "S3", "mount_path": "/s"}]}},
            r"kubeflow.secrets\[0\].name: received 'S3'; allowed",
        ),
        (
            {"kubeflow": {"secrets": [{"name": "s", "mount_path": "s"}]}},
            r"kubeflow.secrets\[0\].mount_path: received 's'; allowed: an abs",
        ),
        (
            {"kubeflow": {"secrets": [{"name": "s", "env": ["k=1X"]}]}},
            r"kubeflow.secrets\[0\].env, the variable: received '1X'; allowed: letters",
        ),
        (
            {"kubeflow": {"secrets": [{"name": "s", "env": ["k y=X"]}]}},
            r"kubeflow.secrets\[0\].env, the key: received 'k y'; allowed: letters",
        ),
        (
            {"kubeflow": {"resources": [{"node_selector": ["a b=c"]}]}},
            r"kubeflow.resources\[0\].node_selector, the label: received 'a b'; allowed: a name",
        ),
        (
            {"kubeflow": {"resources": [{"node_selector": ["a=c d"]}]}},
            r"kubeflow.resources\[0\].node_selector, its value: received 'c d'; allowed: up to 63",
        ),
        (
            {"kubeflow": {"resources": [{"gpu": 1, "gpu_type": "n/v/g"}]}},
            r"kubeflow.resources\[0\].gpu_type: received 'n/v/g'; allowed: a name",
        ),
        ({"retraining": {"spans": "latst"}}, "retraining.spans: received 'latst'; allowed"),
        (
            {"beam": {"pipeline_args": ["--runner=DaskRunner"]}},
            "beam.pipeline_args: received --runner=DaskRunner; allowed",
        ),
        (
            {"evaluation": {"thresholds": [{"metric": "iou_galxy", "min": 0.1}]}},
            r"evaluation.thresholds\[0\].metric: received 'iou_galxy'; allowed: .*iou_galaxy",
        ),
    ],
)
def test_mistakes(raw, message):
    with pytest.raises(ConfigError, match="here: " + message):
        check_config(config_from_dict(raw), "here")


def test_a_pool_of_gpus():
    raw = {"component": "Trainer", "gpu": 1, "node_selector": ["pool=gpu"]}
    [entry] = config_from_dict({"kubeflow": {"resources": [raw], "secrets": []}}).kubeflow.resources
    assert (entry.gpu, entry.gpu_type, entry.node_selector) == (1, "nvidia.com/gpu", ("pool=gpu",))


def test_the_documented_configurations_are_valid():
    text = (PROJECT / "docs" / "kubeflow.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    configs = [config_from_dict(block) for block in blocks if "kubeflow" in block]
    for config in configs:
        check_config(config)
    without_volume, config = configs
    assert without_volume.kubeflow.claim == ""
    [claim] = [block for block in blocks if block.get("kind") == "PersistentVolumeClaim"]
    assert config.kubeflow.claim == claim["metadata"]["name"]
    assert [entry.gpu for entry in config.kubeflow.resources if entry.component == "Trainer"] == [1]


def test_a_file_is_read_and_checked(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("retraining: {spans: latest:3}\n")
    assert read_config(path).retraining.spans == "latest:3"
    path.write_text("retraining: {spans: newest}\n")
    with pytest.raises(ConfigError, match="a.yaml: retraining.spans: received 'newest'"):
        read_config(path)
