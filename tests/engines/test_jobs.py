"""The jobs besides the pipeline's steps, on each engine: the same bytes as in process."""

from blendinator.data import spans
from blendinator.data.simulate import simulate_span
from blendinator.model import released
from blendinator.pipeline.bulk_inference import predict


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
