"""What a finished training is told about its latent."""

from blendinator.model.monitors import latent_warnings

ALIVE = {"active_units": 2, "diversity": 0.1}
ELBO = {"phase": "elbo", "kl_per_dimension": [0.02, 3.0]}


def test_a_living_latent_raises_no_warning():
    assert latent_warnings([ELBO, {"phase": "multi_sample", "kl_per_dimension": [0.0, 0.0]}], ALIVE) == []


def test_a_collapsed_kl_is_told():
    (message,) = latent_warnings([ELBO, ELBO | {"kl_per_dimension": [0.02, 0.09]}], ALIVE)
    assert "collapsed: no dimension's KL reached 0.1 nat" in message and "training.free_bits" in message


def test_dead_units_are_told():
    (message,) = latent_warnings([], ALIVE | {"active_units": 0})
    assert "no unit of the latent is active" in message


def test_equal_draws_are_told():
    (message,) = latent_warnings([], ALIVE | {"diversity": 0.0})
    assert "never differ" in message and "training.multi_sample_share" in message
