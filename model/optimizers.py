"""The two optimisers of a training, and their learning rates."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from blendinator.config import TrainingConfig
from blendinator.model.muon import Muon
from blendinator.model.phases import Phases
from blendinator.model.probaunet import ProbaUNet


class Optimizers:
    """Two optimisers (`blendinator.model.muon`): the network's, and the latent's from the step at which z joins.

    The latent's nets are not trained during the deterministic phase. With one optimiser, their first steps would come
    without warm-up and without the bias correction of Adam's moments, three times too large: the posterior collapses.

    Attributes:
      network, latent: the optimisers; each variable belongs to one of them for the whole training.
    """

    def __init__(self, model: ProbaUNet, config: TrainingConfig) -> None:
        latent = {id(variable) for variable in model.latent_variables}
        self._of_latent = lambda variable: id(variable) in latent
        self._clip = config.gradient_clip
        self.network = _optimizer(config, 0)
        self.latent = _optimizer(config, Phases(config).latent_from)
        self.network.build([variable for variable in model.trainable_variables if id(variable) not in latent])
        self.latent.build(model.latent_variables)

    def apply(self, gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Variable]) -> None:
        """One step of each optimiser on the variables that have a gradient."""
        for optimizer, wanted in ((self.network, False), (self.latent, True)):
            pairs = [
                (gradient, variable)
                for gradient, variable in zip(gradients, variables)
                if gradient is not None and self._of_latent(variable) == wanted
            ]
            if pairs:
                chosen, owners = zip(*pairs)
                optimizer.apply(self._averaged(chosen), owners)

    def _averaged(self, gradients: Sequence[tf.Tensor]) -> list:
        """The replicas' mean gradient, clipped, over the number of replicas: the optimiser takes the sum of them."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        if replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, list(gradients))
        clipped, _ = tf.clip_by_global_norm(gradients, self._clip)
        return [gradient / replicas for gradient in clipped]


def _optimizer(config: TrainingConfig, start: int) -> Muon:
    """From step `start` on: a short warm-up to the cosine decay that all of the training follows."""
    steps = max(1, config.steps - start)
    warmup = max(1, steps // 50)
    end = 0.01 * config.learning_rate
    peak = max(end, 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * start / config.steps)))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), alpha=end / peak, warmup_target=peak, warmup_steps=warmup
    )
    return Muon(schedule, config.kernel_learning_rate / config.learning_rate, weight_decay=config.weight_decay)
