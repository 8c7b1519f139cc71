"""The training loop: three kinds of steps, evaluation on held-out scenes, checkpoints and early stopping."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from blendinator.config import DefectsConfig, TrainingConfig
from blendinator.data.observing import DEFAULT
from blendinator.errors import ConfigError
from blendinator.model import latent, losses
from blendinator.model.input_data import Normalise, Scenes, training_batches
from blendinator.model.monitors import make_monitor
from blendinator.model.optimizers import Optimizers
from blendinator.model.phases import Phases
from blendinator.model.precision import has_bfloat16
from blendinator.model.probaunet import ProbaUNet

log = logging.getLogger("blendinator.training")
_PROGRESS_SECONDS = 10.0


def resolve_precision(precision: str) -> str:
    """Configuration's `precision` -> Keras policy; "auto" is bfloat16 where processor or GPU computes in it."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16() else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def device_strategy(devices: str) -> tf.distribute.Strategy:
    """Configuration's `devices` -> how a step is divided: "one" device, or "all" GPUs of this machine.

    Build the model inside its `scope()`. With "all", each GPU takes an equal share of the batch and the gradients are
    averaged; on a machine with fewer than two GPUs it is the same as "one".
    """
    if devices == "all" and len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


class Progress(tf.train.experimental.PythonState):
    """What a checkpoint keeps besides the variables.

    Attributes:
      history: one row per evaluation. seconds: that the training took so far, all its starts together.
    """

    def __init__(self) -> None:
        self.history, self.seconds = [], 0.0

    def serialize(self) -> str:
        return json.dumps([self.history, self.seconds])

    def deserialize(self, string_value: bytes) -> None:
        self.history, self.seconds = json.loads(string_value)


def make_steps(model: ProbaUNet, optimizers: Optimizers, config: TrainingConfig) -> dict:
    """One compiled training step for each phase: (image, mask, step) -> dict of scalar losses in nats per image.

    A step runs on every replica of the current `tf.distribute` strategy, each with its part of the batch.
    """
    variables = model.trainable_variables
    phases = Phases(config)
    strategy = tf.distribute.get_strategy()

    def noise(shape: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.cast(config.seed, tf.int64) * 4 + 2, step])
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.random.stateless_normal(
            shape, tf.random.experimental.stateless_fold_in(seed, tf.cast(replica, tf.int64))
        )

    def deterministic(image: tf.Tensor, mask: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        features, _ = model.features(image)
        loss = tf.reduce_mean(losses.cross_entropy(model.logits(features), mask))
        return loss, {"cross_entropy": loss}

    def elbo(image: tf.Tensor, mask: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        features, prior = model.features(image)
        posterior = model.posterior(image, mask)
        z = latent.from_posterior(posterior, noise(tf.shape(posterior.loc), step))
        reconstruction = losses.cross_entropy(model.logits(features, z[:, None])[:, 0], mask)
        kl = losses.balanced_kl(posterior, prior, config.kl_balance)
        beta = losses.beta_at(step, phases.latent_from, phases.warmup, config.beta)
        loss = losses.negative_elbo(reconstruction, losses.free_bits(kl, config.free_bits), beta)
        return loss, {
            "cross_entropy": tf.reduce_mean(reconstruction),
            "kl": tf.reduce_mean(tf.reduce_sum(kl, axis=-1)),
            "beta": beta,
        }

    def multi_sample(image: tf.Tensor, mask: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        features, prior = model.features(image)
        draws = config.multi_sample_draws
        z = latent.from_prior(prior, noise(latent.noise_shape(prior, draws), step))
        logits = model.logits(features, tf.ensure_shape(z, [None, draws, *prior.loc.shape[1:]]))
        pixels = losses.pixel_cross_entropy(logits, mask[:, None])
        joint = tf.reduce_mean(losses.blockwise_mixture_nll(pixels))
        marginal = tf.reduce_mean(losses.pixel_mixture_nll(pixels))
        weight = config.marginal_weight
        return (1.0 - weight) * joint + weight * marginal, {"joint_nll": joint, "marginal_nll": marginal}

    def compiled(
        objective: Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]],
    ) -> Callable[..., dict[str, tf.Tensor]]:
        def on_replica(image: tf.Tensor, mask: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss, terms = objective(image, mask, step)
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            optimizers.apply(gradients, variables)
            return {"loss": loss, **terms}

        @tf.function(reduce_retracing=True, autograph=False)
        def step_function(image: tf.Tensor, mask: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
            terms = strategy.run(on_replica, args=(image, mask, step))
            return {name: strategy.reduce("MEAN", value, axis=None) for name, value in terms.items()}

        return step_function

    return {"deterministic": compiled(deterministic), "elbo": compiled(elbo), "multi_sample": compiled(multi_sample)}


def train(
    model: ProbaUNet,
    scenes: Scenes,
    held_out: Scenes,
    normalise: Normalise,
    config: TrainingConfig,
    work_dir: str,
    log_dir: str,
    monitor: Callable[[Scenes], dict] | None = None,
    warm: bool = False,
    defects: DefectsConfig = DEFAULT,
) -> dict:
    """Trains `model` in place; afterwards it holds the weights that were best on `held_out`.

    Args:
      scenes: the training scenes; `held_out`: those for evaluation and early stopping.
      normalise: electrons -> network input.
      work_dir: checkpoints; a training killed here goes on from its last one.
      log_dir: TensorBoard's event files.
      monitor: from `make_monitor`, which a caller that uses it afterwards need not compile twice.
      warm: whether the weights that it starts from are a candidate as well: then the training cannot end worse.
      defects: of the images, drawn again at every step.

    Returns:
      Facts of the training, of all its starts if it was killed: steps, seconds, and `history`, one row per evaluation.

    Raises:
      ConfigError: the loss is no longer finite: the learning rates are too high.
    """
    optimizers = Optimizers(model, config)
    steps = make_steps(model, optimizers, config)
    phases = Phases(config)
    best = tf.Variable(np.inf, dtype=tf.float32, trainable=False)
    best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
    done = tf.Variable(0, dtype=tf.int64, trainable=False)
    progress = Progress()
    checkpoint = tf.train.Checkpoint(
        model=model,
        network_optimizer=optimizers.network,
        latent_optimizer=optimizers.latent,
        best=best,
        best_step=best_step,
        done=done,
        progress=progress,
    )
    manager = tf.train.CheckpointManager(checkpoint, work_dir, max_to_keep=1)
    best_weights = Path(work_dir) / "best.weights.h5"
    best_weights.parent.mkdir(parents=True, exist_ok=True)
    evaluate = monitor or make_monitor(model, normalise, config.seed)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).expect_partial()
        log.info("resuming the training at step %d", int(done))
    elif warm:
        row = {"step": 0, "phase": phases.at(0), **evaluate(held_out)}
        progress.history.append(row)
        best.assign(row["prior_nll"])
        model.save_weights(best_weights)
        log.info("step 0: held-out prior NLL %.1f nats per image", row["prior_nll"])
    writer = tf.summary.create_file_writer(log_dir)
    reported = time.monotonic()
    start = reported - progress.seconds
    first_step = reported_step = int(done)
    batches = training_batches(scenes, normalise, config, first_step, defects)
    for step, (image, mask) in enumerate(batches, start=first_step):
        terms = steps[phases.at(step)](image, mask, tf.constant(step, tf.int64))
        last = step + 1 == config.steps
        now = time.monotonic()
        if step == first_step:  # compiling it took most of its time
            reported, reported_step = now, step + 1
        elif last or now - reported > _PROGRESS_SECONDS:
            values = {name: float(value) for name, value in terms.items()}
            if not np.isfinite(values["loss"]):
                raise ConfigError(
                    f"the loss is {values['loss']} at step {step}: the training diverged. Lower training.learning_rate "
                    f"(received {config.learning_rate:g}) and training.kernel_learning_rate (received "
                    f"{config.kernel_learning_rate:g})."
                )
            pace = (now - reported) / (step + 1 - reported_step)
            log.info(_progress_line(step + 1, config, phases.at(step), values, pace))
            reported, reported_step = now, step + 1
            with writer.as_default(step=step + 1):
                for name, value in values.items():
                    tf.summary.scalar(f"train/{name}", value)
        if last or (step + 1) % config.evaluate_every == 0:
            row = {"step": step + 1, "phase": phases.at(step), **evaluate(held_out)}
            progress.history.append(row)
            _write_monitors(writer, row)
            log.info(
                "step %d: held-out prior NLL %.1f nats per image, KL %.2f, active units %d, diversity %.3f",
                step + 1,
                row["prior_nll"],
                sum(row["kl_per_dimension"]),
                row["active_units"],
                row["diversity"],
            )
            # Weights of the deterministic phase would win early and never be calibrated: they are not candidates.
            if phases.at(step) != "deterministic" or phases.latent_from >= config.steps:
                if row["prior_nll"] < float(best):
                    best.assign(row["prior_nll"])
                    best_step.assign(step + 1)
                    model.save_weights(best_weights)
                stale = (step + 1 - int(best_step)) // config.evaluate_every
                if stale >= config.patience and step + 1 > phases.latent_from + phases.warmup:
                    log.info("no better for %d evaluations: stopping at step %d", stale, step + 1)
                    break
            done.assign(step + 1)
            progress.seconds = time.monotonic() - start
            manager.save()
    if best_weights.exists():
        model.load_weights(best_weights)
    return {
        "steps": step + 1 if config.steps > first_step else first_step,
        "best_step": int(best_step),
        "seconds": round(time.monotonic() - start, 1),
        "history": progress.history,
    }


def _progress_line(
    step: int, config: TrainingConfig, phase: str, values: dict[str, float], seconds_per_step: float
) -> str:
    left = seconds_per_step * (config.steps - step)
    terms = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
    return (
        f"step {step}/{config.steps} ({phase})  {terms}  {config.batch_size / seconds_per_step:.0f} images/s"
        f"  {int(left // 60)}:{int(left % 60):02d} left"
    )


def _write_monitors(writer: Any, row: dict) -> None:
    with writer.as_default(step=row["step"]):
        for name, value in row.items():
            if isinstance(value, float):
                tf.summary.scalar(f"held_out/{name}", value)
        for i, value in enumerate(row["kl_per_dimension"]):
            tf.summary.scalar(f"kl_per_dimension/{i}", value)
        writer.flush()
