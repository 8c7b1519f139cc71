"""Muon: orthogonalised momentum for the convolutions' kernels, Adam for all else.

Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon); why
it is steepest descent in the spectral norm: Bernstein and Newhouse 2024 (arXiv:2409.20325). Keras' optimiser of this
name leaves four-dimensional kernels to Adam, and they are nearly all of a U-Net.
"""

from typing import Any

import keras
import tensorflow as tf

_MOMENTUM = 0.95
# The quintic polynomial a x + b x^3 + c x^5 of Jordan et al.: five rounds take singular values from (0, 1] to about 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(keras.optimizers.AdamW):
    """AdamW whose steps on kernels larger than 1 x 1 are those of Muon.

    Args:
      learning_rate: Adam's, a number or a schedule.
      kernel_ratio: Muon's learning rate over Adam's; one schedule drives both.
    """

    def __init__(self, learning_rate: Any, kernel_ratio: float, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self.kernel_ratio = kernel_ratio

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """One step on one variable; Keras calls it."""
        if len(variable.shape) != 4 or tuple(variable.shape[:2]) == (1, 1):
            return super().update_step(gradient, variable, learning_rate)
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign(momentum, _MOMENTUM * momentum + gradient)
        flat = tf.reshape(gradient + _MOMENTUM * momentum, [-1, variable.shape[-1]])
        step = tf.reshape(orthogonalised(flat), variable.shape)
        self.assign_sub(variable, self.kernel_ratio * tf.cast(learning_rate, step.dtype) * step)

    def get_config(self) -> dict:
        return super().get_config() | {"kernel_ratio": self.kernel_ratio}


def orthogonalised(matrix: tf.Tensor) -> tf.Tensor:
    """The nearest matrix with singular values about 1: from U S V^T roughly U V^T, by Newton-Schulz rounds.

    Args:
      matrix: float32 [m, n].
    """
    tall = matrix.shape[0] > matrix.shape[1]
    result = _newton_schulz(tf.transpose(matrix) if tall else matrix)
    return tf.transpose(result) if tall else result


# A function of its own, so that a training step's graph holds it once and not once a kernel.
@tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
def _newton_schulz(x: tf.Tensor) -> tf.Tensor:
    x /= tf.norm(x) + 1e-7
    for _ in range(_ROUNDS):
        square = tf.matmul(x, x, transpose_b=True)
        x = _A * x + tf.matmul(_B * square + _C * tf.matmul(square, square), x)
    return x
