"""Serves a SavedModel with Triton, whose Python backend calls the signatures. A program for Triton's own environment.

    python triton_server.py MODEL [HTTP_PORT [ADDRESS]]

Triton's model `blendinator` is the signature `serving_default`: images of one size that come at the same time are
sampled together, which changes no answer, since each image's samples depend on its pixels alone. Its model
`blendinator_sample` is the signature `sample`; Triton has no scalars, so that `num_samples` has the shape [1]. gRPC is
on the port after HTTP's. Without ADDRESS it listens on every interface. Where standard input is a pipe, the server ends
with it: it does not outlive a process that started it and was killed. Needs no other part of this package.
"""

import os
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if TYPE_CHECKING:
    from pytriton.proxy.types import Request

MAX_BATCH = 32
MAX_DELAY = 2000  # microseconds for which an image waits for others


def outputs(signature: Any, first_axis: int) -> list[Tensor]:
    """Triton's description of a signature's outputs, from the given axis on."""
    return [
        Tensor(
            name=name,
            dtype=spec.dtype.as_numpy_dtype,
            shape=tuple(-1 if n is None else n for n in spec.shape)[first_axis:],
        )
        for name, spec in sorted(signature.structured_outputs.items())
    ]


def image_shape(signature: Any) -> tuple[int, ...]:
    """The shape of the images that a signature takes, batch first: with an axis of bands for more than one."""
    return tuple(-1 if n is None else n for n in signature.structured_input_signature[1]["image"].shape)


def end_with_standard_input() -> None:
    """Stops this process, as SIGTERM does, when the pipe on its standard input is closed at the other end."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=watch, daemon=True).start()


def serve(model: str, port: int, address: str) -> None:
    """Serves until it is stopped, by Ctrl-C or SIGTERM; then the server process that Triton starts is ended, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_standard_input()
    signatures = tf.saved_model.load(model).signatures
    default, sample = signatures["serving_default"], signatures["sample"]

    @batch
    def infer_default(image: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in default(image=tf.constant(image)).items()}

    def infer_sample(requests: Sequence["Request"]) -> list[dict[str, np.ndarray]]:
        answers = []
        for request in requests:
            inputs = dict(request.data)
            inputs["num_samples"] = inputs["num_samples"].reshape(())
            found = sample(**{name: tf.constant(value) for name, value in inputs.items()})
            answers.append({name: value.numpy() for name, value in found.items()})
        return answers

    config = TritonConfig(
        http_address=address,
        http_port=port,
        grpc_address=address,
        grpc_port=port + 1,
        allow_metrics=False,
        exit_on_error=True,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="blendinator",
            infer_func=infer_default,
            inputs=[Tensor(name="image", dtype=np.float32, shape=image_shape(default)[1:])],
            outputs=outputs(default, 1),
            config=ModelConfig(
                max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=MAX_DELAY)
            ),
            strict=True,
        )
        triton.bind(
            model_name="blendinator_sample",
            infer_func=infer_sample,
            inputs=[
                Tensor(name="image", dtype=np.float32, shape=image_shape(sample)),
                Tensor(name="num_samples", dtype=np.int32, shape=(1,)),
                Tensor(name="seed", dtype=np.int32, shape=(2,)),
            ],
            outputs=outputs(sample, 0),
            config=ModelConfig(batching=False),
            strict=True,
        )
        triton.serve()


def main(model: str, port: str = "8000", address: str = "0.0.0.0") -> None:
    """See the module's docstring."""
    serve(model, int(port), address)


if __name__ == "__main__":
    main(*sys.argv[1:])
