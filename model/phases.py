"""The phases of a training: which objective a step uses, and which scenes its batch holds."""

from blendinator.config import TrainingConfig


class Phases:
    """The boundaries are steps.

    Attributes:
      latent_from: first step with z. multi_sample_from: first step on samples from the prior.
      warmup: number of steps over which beta rises.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.latent_from = round(config.steps * config.deterministic_share)
        self.multi_sample_from = config.steps - round(config.steps * config.multi_sample_share)
        self.warmup = round(config.steps * config.beta_warmup)

    def at(self, step: int) -> str:
        """ "deterministic", "elbo" or "multi_sample"."""
        if step < self.latent_from:
            return "deterministic"
        return "elbo" if step < self.multi_sample_from else "multi_sample"
