"""The jobs besides the pipeline's steps, on each engine: the same bytes as in process."""

import functools

import numpy as np
from astropy.io import fits

from blendinator.data import spans
from blendinator.data.simulate import simulate_span
from blendinator.model import released
from blendinator.model.field.batch.inputs import expand
from blendinator.model.field.batch.run import Formats, Job, segment_images as on_this_machine
from blendinator.pipeline import bulk_segmentation
from blendinator.pipeline.bulk_inference import predict
from blendinator.pipeline.commands.segment import load_model


def test_predictions_are_the_same_bytes(small_span, beam_args, digests, tmp_path):
    model = released.unpack(cache=tmp_path / "cache")
    accounts = [
        predict(
            [f"{small_span}/test-*", f"{small_span}/train-*"], tmp_path / name, model, num_samples=2, pipeline_args=args
        )
        for name, args in (("here", ()), ("there", beam_args))
    ]
    assert accounts[0] == accounts[1]
    assert accounts[0]["read"] == accounts[0]["written"] == 16
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_a_simulated_span_is_the_same_bytes(small_simulation, small_span, beam_args, digests, tmp_path):
    simulate_span(small_simulation, tmp_path, 1, pipeline_args=tuple(beam_args))
    assert digests(spans.span_dir(tmp_path, 1)) == digests(small_span)


def test_a_segmented_survey_is_the_same_bytes(beam_args, digests, tmp_path):
    model, rng = released.unpack(cache=tmp_path / "cache"), np.random.default_rng(1)
    for name in "ab":
        header = fits.Header({"BUNIT": "electron"})
        fits.writeto(tmp_path / f"{name}.fits", rng.normal(0, 26.3, (64, 64)).astype("f4"), header)
    images, load = expand([tmp_path / "?.fits"]), functools.partial(load_model, model, 1024, None)
    names = ("here", "there")
    here, there = (
        Job(load, model, tmp_path / name, Formats(None), num_samples=2, options={"box": 32}) for name in names
    )
    on_this_machine(here, images)
    bulk_segmentation.segment_images(there, images, images, beam_args)
    catalogs = [
        {name: digest for name, digest in digests(job.folder).items() if "record" not in name and "summary" not in name}
        for job in (here, there)
    ]
    assert catalogs[0] == catalogs[1] and {"a.objects.ecsv", "b.objects.ecsv"} < set(catalogs[0])
