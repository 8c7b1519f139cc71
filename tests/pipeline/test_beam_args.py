"""The checks of beam.pipeline_args, and that the documented examples are what Beam itself understands."""

import argparse
import re
from pathlib import Path

import pytest
import yaml

from blendinator.config_loader import config_from_dict
from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import REQUIRED, check_beam_args, parse_beam_args, runner_name
from blendinator.pipeline.config_checks import check_config

PROJECT = Path(__file__).resolve().parents[2]

BLOCKS = [
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "beam.md").read_text(), re.DOTALL)
]
EXAMPLES = [block["beam"]["pipeline_args"] for block in BLOCKS if "beam" in block]


def test_every_runner_is_documented_with_an_example():
    assert {runner_name(args) for args in EXAMPLES} == set(REQUIRED)


@pytest.mark.parametrize("args", EXAMPLES, ids=runner_name)
def test_examples_pass_the_checks_and_beam_knows_every_argument(args):
    from apache_beam.options.pipeline_options import PipelineOptions

    check_config(config_from_dict({"beam": {"pipeline_args": args}}))
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        if options.__module__ == "apache_beam.options.pipeline_options":
            options._add_argparse_args(parser)
    known, unknown = parser.parse_known_args(args)
    assert unknown == []
    for name in REQUIRED[runner_name(args)]:
        assert getattr(known, name) == parse_beam_args(args)[name]


FLINK = ("--runner=FlinkRunner", "--flink_master=a:1", "--environment_type=EXTERNAL", "--environment_config=b:2")
DATAFLOW = ("--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b", "--sdk_container_image=i")


@pytest.mark.parametrize(
    "args, message",
    [
        (("runner=FlinkRunner",), "received 'runner=FlinkRunner'; allowed: --name=value"),
        (("--runner FlinkRunner",), "received '--runner FlinkRunner'; allowed: --name=value"),
        (
            ("--runner=DaskRunner",),
            "received --runner=DaskRunner; allowed: one of DirectRunner, PortableRunner, FlinkRunner",
        ),
        (FLINK[:1] + FLINK[2:], "--runner=FlinkRunner needs --flink_master, which is not given"),
        (FLINK[:3], "--environment_type=EXTERNAL needs --environment_config"),
        (
            FLINK[:2] + ("--environment_type=KUBERNETES",),
            "received --environment_type=KUBERNETES; allowed: one of DOCKER",
        ),
        (("--runner=SparkRunner",), "--runner=SparkRunner needs --spark_master_url"),
        (DATAFLOW[:4], "--runner=DataflowRunner needs --sdk_container_image"),
        (
            DATAFLOW[:3] + ("--temp_location=/tmp",) + DATAFLOW[4:],
            "received --temp_location=/tmp; allowed for Dataflow: gs://",
        ),
    ],
)
def test_mistakes(args, message):
    with pytest.raises(ConfigError, match="here: beam.pipeline_args: " + message):
        check_beam_args(args, "here")


def test_no_arguments_and_a_bare_flag_are_fine():
    check_beam_args(())
    check_beam_args(("--direct_num_workers=2", "--save_main_session"))
    assert parse_beam_args(("--save_main_session",)) == {"save_main_session": ""}
