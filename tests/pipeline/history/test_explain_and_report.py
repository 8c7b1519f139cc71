import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from blendinator.components.calibration_evaluator import executor, scoring
from blendinator.config import Config, EvaluationConfig, RelativeConfig, SliceConfig, ThresholdConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import spans
from blendinator.data.records import NUMBERS
from blendinator.errors import ConfigError, DataError
from blendinator.model import gallery
from blendinator.model.metrics import scenes
from blendinator.pipeline import cli
from blendinator.pipeline.history import explain, report
from blendinator.pipeline.history.report_content import PAGES

COMPLETE, FAILED = metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.FAILED
EASY, HARD = ThresholdConfig("iou_galaxy", min=0.0), ThresholdConfig("iou_galaxy", min=0.99)


def make_rows(seed, count=40, size=16):
    rng = np.random.default_rng(seed)
    mask = np.zeros((count, size, size), int)
    for one in mask:
        for _ in range(2):
            y, x = rng.integers(0, size - 6, 2)
            one[y : y + 6, x : x + 6] += 1
    samples = np.stack([np.roll(mask, tuple(rng.integers(-1, 2, 2)), (1, 2)) for _ in range(4)], 1).astype(np.uint8)
    probabilities = np.stack([(samples == c).mean(1) for c in range(3)], -1).astype(np.float32)
    rows = scenes.scene_statistics(mask, samples, probabilities, [f"1:{i:02d}" for i in range(count)])
    rows["population"] = np.array(["boosted", "natural"] * (count // 2))
    return rows | {name: rng.uniform(0, 1, count).astype(np.float32) for name in NUMBERS}


class Store:
    """A metadata store as a run of the pipeline leaves it."""

    def __init__(self, config):
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(config.metadata_path)
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(connection)
        self.folder = config.pipeline_root

    def run(self, name, steps, artifacts):
        """`steps`: (type, state); `artifacts`: type to (folder, custom properties)."""
        kind = metadata_store_pb2.ContextType(name="pipeline_run")
        context = metadata_store_pb2.Context(type_id=self.store.put_context_type(kind), name=name)
        [context_id] = self.store.put_contexts([context])
        executions = []
        for step, state in steps:
            type_id = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name=f"components.x.{step}"))
            executions.append(metadata_store_pb2.Execution(type_id=type_id, last_known_state=state))
        found = []
        for step, (folder, properties) in artifacts.items():
            type_id = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name=step))
            artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=str(folder))
            for key, value in properties.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[key], field, value)
            found.append(artifact)
        artifact_ids, execution_ids = self.store.put_artifacts(found), self.store.put_executions(executions)
        self.store.put_attributions_and_associations(
            [metadata_store_pb2.Attribution(artifact_id=i, context_id=context_id) for i in artifact_ids],
            [metadata_store_pb2.Association(execution_id=i, context_id=context_id) for i in execution_ids],
        )


@pytest.fixture
def config(tmp_path):
    (tmp_path / "pipeline").mkdir()
    return dataclasses.replace(Config(), output_dir=str(tmp_path))


def write_run(
    config, name="2026-01-01T00:00:00", thresholds=(EASY,), live=False, export_passed=True, pushed=True, manifest=None
):
    """A finished run: evaluation, export check, training facts, pictures and a pushed version.

    With a `manifest`, it used span 1, which has it besides what every manifest needs.
    """
    settings = dataclasses.replace(
        EvaluationConfig(),
        num_samples=4,
        thresholds=thresholds,
        min_scenes=5,
        bootstrap_replicates=20,
        relative=(RelativeConfig("iou_blended", margin=0.5),),
        slices=(SliceConfig("min_separation", (0.0, 0.3, 0.7, 1.0)),),
    )
    methods = (scoring.CANDIDATE, scoring.CLASSICAL, scoring.LIVE)[: 3 if live else 2]
    rows = {method: make_rows(1) for method in methods}
    folder = config.pipeline_root / name.replace(":", "")
    evaluation, check, trained, version = (folder / part for part in ("evaluation", "check", "model", "version"))
    for path in (evaluation, check, trained / "Format-Serving/assets.extra", version):
        path.mkdir(parents=True)
    content = executor.make_report(rows, dataclasses.replace(config, evaluation=settings))
    (evaluation / "metrics.json").write_text(json.dumps(content))
    blank = np.zeros((16, 16), int)
    picture = gallery.page(
        [
            {
                "image": blank,
                "sky_sigma": 1.0,
                "mask": blank,
                "samples": blank[None],
                "probabilities": np.eye(3)[blank],
                "title": "$x_{",
            }
        ]
    )
    for page, _ in PAGES:
        (evaluation / f"scenes-{page}.png").write_bytes(picture)
    checks = [{"name": "same seed", "passed": export_passed, "detail": "8 of 8 equal"}]
    (check / "report.json").write_text(json.dumps({"checks": checks}))
    row = {"prior_nll": 3.0, "reconstruction": 2.0, "pixel_nll": 4.0, "kl_per_dimension": [0.5, 0.1], "diversity": 0.2}
    facts = {
        "steps": 20,
        "best_step": 10,
        "seconds": 3.0,
        "history": [{"step": 10, **row}, {"step": 20, **row}],
        "monitors": {"active_units": 1, "kl_per_dimension": [0.5, 0.1]},
        "code": "abc<123>",
        "calibration": {"temperature": 1.1, "prior_scale": 0.9, "nll_before": 3.0, "nll_after": 2.9, "scenes": 7},
        "config": config_to_dict(config),
    }
    (trained / "Format-Serving/assets.extra/blendinator.json").write_text(json.dumps(facts))
    used = {}
    if manifest is not None:
        used = {"Examples": (folder / "examples", {})}
        (folder / "examples/Split-train").mkdir(parents=True)
        (folder / "examples/Split-train/span-0001-train-0.gz").touch()
        span = spans.span_dir(config.data_root, 1)
        span.mkdir(parents=True)
        needed = {
            "complete": True,
            "format_version": spans.FORMAT_VERSION,
            "files": {},
            "splits": {"train": {"records": 12}},
        }
        (span / spans.MANIFEST).write_text(json.dumps(needed | manifest))
    push = {"pushed": 1, "pushed_destination": str(version)} if pushed else {"pushed": 0}
    Store(config).run(
        name,
        [("Trainer", COMPLETE), ("CalibrationEvaluator", COMPLETE), ("Pusher", COMPLETE)],
        {
            "ModelEvaluation": (evaluation, {}),
            "InfraBlessing": (check, {"blessed": int(export_passed)}),
            "Model": (trained, {}),
            "PushedModel": (folder / "pushed", push),
            **used,
        },
    )
    return version


def test_a_pushed_model(config):
    version = write_run(config)
    found = explain.explain(config)
    assert found["pushed"] is True and found["version"] == str(version)
    assert found["reason"] == "all 1 rules and all 1 export checks passed"
    assert [step["name"] for step in found["steps"]] == ["Trainer", "CalibrationEvaluator", "Pusher"]
    rule = found["rules"][0]
    assert rule["kind"] == "absolute" and rule["passed"] and rule["live"] is None
    assert found["metrics"]["boosted"]["slices"]["min_separation"][1]["metrics"]["iou_blended"]["value"] is not None
    text = explain.render(found)
    assert "Pushed: " in text and re.search(r"passed +iou_galaxy +boosted", text)


def test_the_layout_is_stable(config):
    """Others read this: names may be added, never renamed or removed within a format version."""
    write_run(config, live=True)
    found = explain.explain(config)
    assert found["format_version"] == 1
    assert set(found) == {
        "format_version",
        "run",
        "started",
        "pushed",
        "version",
        "reason",
        "steps",
        "artifacts",
        "rules",
        "start",
        "drift",
        "export_checks",
        "metrics",
        "live_metrics",
        "classical_metrics",
    }
    shared = {
        "kind",
        "metric",
        "population",
        "slice",
        "bound",
        "value",
        "low",
        "high",
        "candidate",
        "live",
        "scenes",
        "passed",
        "reason",
    }
    assert set(found["rules"][0]) == shared | {"min", "max"}
    assert set(found["rules"][1]) == shared | {"margin"}
    assert set(found["metrics"]["natural"]) == {"scenes", "metrics", "curves", "slices"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_failed_rule_is_the_reason(config):
    write_run(config, thresholds=(EASY, HARD), pushed=False)
    found = explain.explain(config)
    assert not found["pushed"]
    assert re.fullmatch(r"iou_galaxy \(boosted\): 0\.\d+ is below 0.99, required at least 0.99", found["reason"])
    assert "FAILED  iou_galaxy" in explain.render(found)


def test_a_failed_export_check_is_the_reason(config):
    write_run(config, export_passed=False, pushed=False)
    assert explain.explain(config)["reason"] == "export check same seed: 8 of 8 equal"


def test_a_live_model_stands_beside(config):
    write_run(config, live=True)
    found = explain.explain(config)
    absolute, relative = found["rules"]
    assert absolute["live"] == absolute["value"]
    assert relative["kind"] == "relative" and relative["value"] == 0 and relative["live"] == relative["candidate"]
    assert "at most 0.5 worse than live (better end)" in explain.render(found)


def test_a_run_that_stopped_early(config):
    Store(config).run("2026-01-02T00:00:00", [("StatisticsGen", COMPLETE), ("AnomalyGate", FAILED)], {})
    found = explain.explain(config)
    assert not found["pushed"] and found["metrics"] is None
    assert found["reason"] == "the run stopped in AnomalyGate"
    assert "Stopped in AnomalyGate" in explain.render(found)
    with pytest.raises(DataError, match="holds no evaluation to report on, because the run stopped in AnomalyGate"):
        report.write_report(config)


@pytest.mark.parametrize(
    ("pushed", "reason"),
    [
        (True, "all rules and export checks passed; the run's evaluation has been removed since"),
        (
            False,
            r"a rule or an export check failed; the run's evaluation has been removed since \(retraining.keep_runs\)",
        ),
    ],
)
def test_a_run_whose_artifacts_were_pruned(config, pushed, reason):
    write_run(config, thresholds=(EASY,) if pushed else (HARD,), pushed=pushed)
    for folder in ("evaluation", "check"):
        shutil.rmtree(next(config.pipeline_root.glob(f"*/{folder}")))
    assert re.fullmatch(reason, explain.explain(config)["reason"])


def test_runs_are_chosen_by_name_or_part_of_it(config):
    Store(config).run("2026-01-01T10:00:00", [], {})
    Store(config).run("2026-01-02T10:00:00", [], {})
    assert explain.explain(config)["run"] == "2026-01-02T10:00:00"
    assert explain.explain(config, "2026-01-01")["run"] == "2026-01-01T10:00:00"
    with pytest.raises(ConfigError, match="received '10:00:00', which 2 runs are called; allowed: one of 2026-01-01"):
        explain.explain(config, "10:00:00")
    with pytest.raises(ConfigError, match="received 'x', which 0 runs are called"):
        explain.explain(config, "x")


def test_nothing_has_run(config):
    with pytest.raises(DataError, match="there is no metadata store, so nothing has run yet"):
        explain.explain(config)


@pytest.mark.parametrize("live", [False, True])
def test_the_report_is_one_file_and_a_summary(config, live):
    write_run(config, thresholds=(EASY, HARD), live=live, pushed=False)
    page, summary = report.write_report(config)
    html = page.read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html), "the page must need nothing from outside"
    assert "@import" not in html and "url(http" not in html
    assert html.count("<svg") >= 12 and html.count("data:image/png;base64,") == len(PAGES)
    images = re.findall(r"<img [^>]*>", html)
    assert images and all("alt=" in image for image in images)
    assert html.count('role="img" aria-label=') >= 12
    for text in (
        "not pushed",
        "is below 0.99",
        "Boosted population: 20 test scenes",
        "Natural population",
        "SEP",
        "Intended use and limits",
        "temperature 1.1",
        "abc&lt;123&gt;",
    ):
        assert text in html, text
    assert ("live model</th>" in html.split('id="boosted"')[1]) is live
    text = summary.read_text()
    assert text.startswith("# blendinator: not pushed")
    assert "| **failed** | iou_galaxy | boosted |" in text
    assert "## natural population, 20 scenes" in text


def test_a_span_is_described_by_what_its_manifest_tells(config):
    write_run(
        config,
        manifest={
            "seed": 7,
            "class_shares": {"natural": [0.9, 0.09, 0.01]},
            "sky_sigma": 26.0,
            "zero_point": 25.5,
            "splits": {"train": {"records": 12, "boosted": 8, "natural": 4}},
            "simulation": {"stamp_size": 64},
        },
    )
    page, summary = (path.read_text() for path in report.write_report(config))
    for text in (
        "<dt>seed</dt><dd>7</dd>",
        "<dd>12 train (8 boosted, 4 natural)</dd>",
        "1.000% blended</dd>",
        "<dd>sky noise 26.00 electrons per pixel, zero point 25.5</dd>",
        "<code>stamp_size</code>",
    ):
        assert text in page, text
    assert "Trained on span 1 (12 scenes)" in summary


def test_a_manifest_with_what_it_needs_and_nothing_else(config):
    """As of a user's own images."""
    write_run(config, manifest={})
    page, _ = report.write_report(config)
    section = page.read_text().split("<h3>Span 1</h3>")[1].split("<h3>")[0]
    assert re.sub(r"\s", "", section) == "<dl><dt>scenes</dt><dd>12train</dd></dl>"


def test_text_from_outside_does_not_act(config):
    evil = "<script>alert(1)</script>|`x`[a](b)\x1b[2J"
    write_run(config, export_passed=False, pushed=False)
    [path] = config.pipeline_root.glob("*/check/report.json")
    path.write_text(json.dumps({"checks": [{"name": evil, "passed": False, "detail": evil}]}))
    page, summary = (path.read_text() for path in report.write_report(config))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "<script" not in summary and "\x1b" not in summary
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|\`x\`\[a\](b)" in summary
    (config.pipeline_root.parent / "config.yaml").write_text(f"output_dir: {config.output_dir}")
    result = CliRunner().invoke(cli.main, ["explain", "--config", f"{config.output_dir}/config.yaml"])
    assert "\x1b" not in result.output and r"\x1b[2J" in result.output


def test_a_report_without_the_trainers_facts_and_pictures(config, tmp_path):
    write_run(config)
    for pattern in ("*/model/Format-Serving/assets.extra/*", "*/evaluation/*.png"):
        for path in config.pipeline_root.glob(pattern):
            path.unlink()
    page, _ = report.write_report(config, folder=tmp_path / "elsewhere")
    assert page.parent == tmp_path / "elsewhere"
    assert "The model's folder is no longer there." in page.read_text()
