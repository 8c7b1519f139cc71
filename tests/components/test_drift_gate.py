"""Drift: what counts as one, and what the gate does about it."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from blendinator.components.drift_gate import drift, executor
from blendinator.config import DriftConfig, SimulationConfig
from blendinator.config_loader import config_to_dict
from blendinator.data.simulate import simulate_span
from blendinator.data.spans import span_dir
from blendinator.errors import DataError
from blendinator.model.live import LIVE_FILE, STATISTICS_FILE

SCENES = 2000


def make_statistics(seed=0, scenes=SCENES, sky=26.3, fwhm=0.17, noise=26.3, snr=50.0, galaxies=2.0):
    """TFDV's statistics of random scalars and pixels, of which each test changes one."""
    rng = np.random.default_rng(seed)
    values = {
        "sky_sigma": np.full(scenes, sky),
        "psf_fwhm": rng.normal(fwhm, 0.02 * fwhm, scenes),
        "snr": rng.lognormal(np.log(snr), 1.0, scenes),
        "blended_share": rng.exponential(0.03, scenes),
        "num_galaxies": rng.poisson(galaxies, scenes).astype(np.int64),
        "image": rng.normal(0.0, noise, (scenes, 16)),
    }
    result = statistics_pb2.DatasetFeatureStatisticsList()
    data = result.datasets.add(num_examples=scenes)
    for name, column in values.items():
        feature = data.features.add(type=0 if column.dtype == np.int64 else 1)
        feature.path.step.append(name)
        numbers = feature.num_stats
        numbers.common_stats.num_non_missing = scenes
        numbers.mean, numbers.std_dev = float(column.mean()), float(column.std())
        counts, edges = np.histogram(column, 10)
        standard = numbers.histograms.add(type=statistics_pb2.Histogram.STANDARD)
        for low, high, count in zip(edges, edges[1:], counts):
            standard.buckets.add(low_value=low, high_value=high, sample_count=count)
        deciles = np.quantile(column, np.linspace(0, 1, 11))
        quantiles = numbers.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
        for low, high in itertools.pairwise(deciles):
            quantiles.buckets.add(low_value=low, high_value=high, sample_count=column.size / 10)
    return result


def drifted(**changes):
    found = drift.compare(make_statistics(seed=1, **changes), make_statistics(seed=2), DriftConfig())
    return {(entry["feature"], entry["measure"]) for entry in found if entry["drift"]}


def test_same_distribution_is_no_drift():
    found = drift.compare(make_statistics(seed=1), make_statistics(seed=2), DriftConfig())
    assert [entry for entry in found if entry["drift"]] == []
    assert {(entry["feature"], entry["measure"]) for entry in found} == {
        *((name, "mean") for name in drift.DRIFTING),
        ("image", "noise"),
        *((name, "histogram") for name in ("snr", "blended_share", "num_galaxies", "image")),
    }  # the others barely spread


def test_thirty_percent_more_noise_is_caught_in_the_scalar_and_in_the_pixels():
    assert ("image", "noise") in drifted(noise=1.3 * 26.3)
    assert ("sky_sigma", "mean") in drifted(sky=1.3 * 26.3)


def test_wider_psf_is_caught():
    assert ("psf_fwhm", "mean") in drifted(fwhm=1.2 * 0.17)


@pytest.mark.parametrize("change", [{"snr": 100.0}, {"galaxies": 3.0}])
def test_another_population_is_caught(change):
    assert drifted(**change)


def test_small_differences_within_the_limits_are_no_drift():
    assert drifted(noise=1.03 * 26.3, sky=1.03 * 26.3, fwhm=1.02 * 0.17) == set()


def test_few_scenes_are_given_their_standard_error():
    few = make_statistics(seed=3, scenes=25, galaxies=2.6)
    [entry] = [
        one
        for one in drift.compare(few, make_statistics(seed=2), DriftConfig())
        if (one["feature"], one["measure"]) == ("num_galaxies", "mean")
    ]
    assert entry["limit"] > 5 * 1.3 / np.sqrt(25) and not entry["drift"]


def test_mean_and_its_limit_by_hand():
    new = statistics_pb2.NumericStatistics(mean=12.0, std_dev=3.0)
    old = statistics_pb2.NumericStatistics(mean=10.0, std_dev=4.0)
    new.common_stats.num_non_missing, old.common_stats.num_non_missing = 9, 16
    config = DriftConfig(standard_errors=1.0, location=0.1, relative=0.05)
    entry = drift.compare_means("x", new, old, config)
    assert entry["limit"] == pytest.approx(np.sqrt(1.0 + 1.0)) and entry["difference"] == 2.0 and entry["drift"]
    assert drift.compare_means("x", new, old, dataclasses.replace(config, location=0.5))["limit"] == 2.0
    assert drift.compare_means("x", new, old, dataclasses.replace(config, relative=0.3))["limit"] == 3.0


def test_noise_of_normal_pixels():
    numbers = drift.features(make_statistics(noise=20.0))["image"].num_stats
    assert drift.pixel_noise(numbers) == pytest.approx(20.0, rel=0.02)


def test_one_extreme_value_does_not_change_the_distance():
    calm, stretched = make_statistics(seed=1), make_statistics(seed=1)
    numbers = drift.features(stretched)["snr"].num_stats
    for histogram in numbers.histograms:
        histogram.buckets[-1].high_value = 1e9
    distances = [drift.histogram_distances(one, make_statistics(seed=2))["snr"] for one in (calm, stretched)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-3) and distances[0] < 0.01


def test_distance_by_hand():
    """All of one against all but a tenth of the other below an edge: counts (10, 0) and (9, 1)."""
    old, new = make_statistics(seed=1), make_statistics(seed=1)
    for statistics, upper in ((old, 1.0), (new, 2.0)):
        [quantiles] = [one for one in drift.features(statistics)["snr"].num_stats.histograms if one.type == 1]
        for i, bucket in enumerate(quantiles.buckets):
            bucket.low_value, bucket.high_value = (0.0, 1.0) if i < 9 else (1.0, upper)
            bucket.sample_count = 1.0
    p, q = np.array([1.0, 0.0]), np.array([0.9, 0.1])
    half = (p + q) / 2
    expected = 0.5 * sum(np.sum(one[one > 0] * np.log2(one[one > 0] / half[one > 0])) for one in (p, q))
    assert drift.histogram_distances(new, old)["snr"] == pytest.approx(expected, abs=1e-4)


def test_constants_do_not_disturb_the_histograms():
    same = drift.histogram_distances(make_statistics(seed=1), make_statistics(seed=2))
    assert same["sky_sigma"] == pytest.approx(0.0, abs=1e-6) and set(same) == {*drift.DRIFTING, "image"}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Statistics of small simulated spans: a reference, another one of the same distribution, and two others."""
    folder = tmp_path_factory.mktemp("spans")
    base = SimulationConfig(stamp_size=32, train_scenes=1000, calibration_scenes=1, test_scenes=1)
    changes = {"reference": {}, "same": {}, "noise": {"noise_scale": 1.3}, "psf": {"psf_scale": 1.2}}
    found = {}
    for span, (name, change) in enumerate(changes.items(), 1):
        simulate_span(dataclasses.replace(base, **change), folder, span, workers=1)
        found[name] = tfdv.generate_statistics_from_tfrecord(str(span_dir(folder, span) / "train-*"))
    return found


@pytest.mark.parametrize(
    "name, expected",
    [
        ("same", set()),
        ("noise", {("sky_sigma", "mean"), ("image", "noise")}),
        ("psf", {("psf_fwhm", "mean")}),
    ],
)
def test_simulated_spans(simulated, name, expected):
    found = drift.compare(simulated[name], simulated["reference"], DriftConfig())
    drifted = {(entry["feature"], entry["measure"]) for entry in found if entry["drift"]}
    assert drifted >= expected and bool(drifted) == bool(expected)


def run_gate(tmp_path, action, live=True, reference=True, noise=26.3):
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    statistics.split_names = artifact_utils.encode_split_names(["train"])
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    (tmp_path / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(
        make_statistics(seed=1, noise=noise).SerializeToString()
    )
    live_model = standard_artifacts.Model()
    live_model.uri = str(tmp_path / "live")
    export = tmp_path / "live" / "Format-Serving" / STATISTICS_FILE
    export.parent.mkdir(parents=True)
    (tmp_path / "live" / LIVE_FILE).write_text(json.dumps({"version": "7" if live else None}))
    if live and reference:
        export.write_bytes(make_statistics(seed=2).SerializeToString())
    found = standard_artifacts.ExampleAnomalies()
    found.uri = str(tmp_path / "drift")
    executor.Executor().Do(
        {"statistics": [statistics], "live_model": [live_model]},
        {"drift": [found]},
        {"config": json.dumps(config_to_dict(DriftConfig(action=action)))},
    )
    return found, json.loads((tmp_path / "drift" / "drift.json").read_text())


def test_drift_stops_the_run_with_what_and_what_to_do(tmp_path):
    with pytest.raises(DataError) as raised:
        run_gate(tmp_path, "stop", noise=1.3 * 26.3)
    lines = str(raised.value).splitlines()
    assert lines[0] == "The data differ from those that version 7 was trained on:" and len(lines) == 3
    assert lines[1].startswith("  image: the pixels' noise is 33.81") and lines[1].endswith("limit 10 %")
    assert "run once with retraining.drift.action: warn" in lines[2]


def test_drift_warns(tmp_path, caplog):
    artifact, report = run_gate(tmp_path, "warn", noise=1.3 * 26.3)
    assert artifact.get_int_custom_property("drift") == 1 and report["version"] == "7"
    assert "drift: image: the pixels' noise is 33.81" in caplog.text


def test_no_drift_passes(tmp_path, caplog):
    caplog.set_level("INFO")
    artifact, report = run_gate(tmp_path, "stop")
    assert artifact.get_int_custom_property("drift") == 0 and len(report["comparisons"]) == 10
    assert "drift: none against version 7" in caplog.text


@pytest.mark.parametrize("live, reference", [(False, False), (True, False)])
def test_nothing_to_compare_with_is_said(tmp_path, caplog, live, reference):
    caplog.set_level("INFO")
    _, report = run_gate(tmp_path, "stop", live, reference, noise=100.0)
    assert report["comparisons"] == [] and "drift: nothing to compare with" in caplog.text


def test_switched_off(tmp_path, caplog):
    caplog.set_level("INFO")
    run_gate(tmp_path, "off", noise=100.0)
    assert "drift: switched off" in caplog.text


def test_the_lowest_pixel_of_all_does_not_change_the_noise():
    """The bucket below the first decile may hold a little more than a tenth, and reach down to any value."""
    numbers = statistics_pb2.NumericStatistics()
    histogram = numbers.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
    ends = [-1.2816, -0.8416, -0.5244, 0.0, 1.0]
    for low, high, count in zip([-3000.0, *ends], ends, [10.1, 9.9, 10.0, 20.0, 50.0]):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)
    assert drift.pixel_noise(numbers) == pytest.approx(1.0, abs=1e-3)
