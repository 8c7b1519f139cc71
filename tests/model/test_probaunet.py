"""The network's contract, and one test for each defect known from earlier implementations of the ProbaUNet."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model import losses, network
from blendinator.model.probaunet import ProbaUNet, draw

TINY = ModelConfig(channels=(4, 6), convs_per_block=1, head_channels=5, head_layers=2, latent_dim=3)
VARIANTS = [
    dataclasses.replace(TINY, latent=latent, prior_encoder=prior)
    for latent in ("global", "spatial")
    for prior in ("shared", "separate")
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda c: f"{c.latent}-{c.prior_encoder}")
def net(request):
    return ProbaUNet(request.param, seed=3)


@pytest.fixture(scope="module")
def image():
    return tf.random.stateless_normal([2, 16, 16, 1], [1, 2])


@pytest.fixture(scope="module")
def mask():
    return tf.cast(tf.random.stateless_uniform([2, 16, 16], [3, 4], maxval=3, dtype=tf.int32), tf.int32)


def latent_shape(net, side):
    return [1, 1] if net.config.latent == "global" else [side // 2, side // 2]


def test_shapes(net, image, mask):
    features, prior = net.features(image)
    posterior = net.posterior(image, mask)
    assert features.shape == [2, 16, 16, 5]
    assert prior.loc.shape == posterior.loc.shape == [2, *latent_shape(net, 16), 3]
    assert net.logits(features, posterior.loc[:, None]).shape == [2, 1, 16, 16, 3]
    assert net.logits(features).shape == [2, 16, 16, 3]


@pytest.mark.parametrize("side", [32, 48])
def test_any_size_that_the_scales_divide(net, side):
    features, prior = net.features(tf.zeros([1, side, side, 1]))
    noise = tf.zeros([1, 4, *latent_shape(net, side), 3])
    assert net.draw_logits(features, prior, noise).shape == [1, 4, side, side, 3]


def test_mu_and_log_sigma_are_free(net):
    """Defect: a ReLU on mu and log sigma, so that sigma >= 1 and the latent can't narrow."""
    gaussian = net.prior_gaussian
    names = {layer.name: layer for layer in gaussian.layers}
    assert names["prior_mu"].activation.__name__ == names["prior_log_sigma"].activation.__name__ == "linear"
    bias = names["prior_log_sigma"].bias
    before = bias.numpy()
    bias.assign(np.full_like(before, -3.0))
    _, prior = net.features(tf.zeros([1, 16, 16, 1]))
    bias.assign(before)
    np.testing.assert_allclose(prior.scale, np.exp(-3.0) * np.ones_like(prior.scale), rtol=1e-5)
    mu = net.features(tf.random.stateless_normal([8, 16, 16, 1], [5, 6]))[1].loc.numpy()
    assert mu.min() < 0 < mu.max()


def test_logits_are_free(net, image):
    """Defect: a ReLU on the logits."""
    features, prior = net.features(image)
    logits = net.logits(features, prior.loc[:, None]).numpy()
    assert logits.min() < 0 < logits.max()


def test_z_acts_through_the_head_on_every_class(net, image):
    """Defect: a head so narrow that z can barely act."""
    features, prior = net.features(image)
    logits = [net.logits(features, prior.loc[:, None] + shift).numpy() for shift in (-1.0, 1.0)]
    change = np.abs(logits[0] - logits[1])
    assert change.mean(axis=(0, 1, 2, 3)).min() > 0.05


def test_head_equals_convolutions_of_the_concatenation(net, image):
    """The split first layer is the f_comb of Kohl et al.: concat(features, z), then 1x1 convolutions."""
    features, prior = net.features(image)
    z = prior.loc
    head = net.head
    shift = head.from_latent(z)
    if head.spatial:
        shift = head.upsample(shift)
    x = tf.nn.relu(features + tf.broadcast_to(shift, features.shape))
    for layer in head.hidden:
        x = tf.nn.relu(tf.einsum("bhwc,cd->bhwd", x, layer.kernel[0, 0]) + layer.bias)
    expected = tf.einsum("bhwc,cd->bhwd", x, head.to_logits.kernel[0, 0]) + head.to_logits.bias
    np.testing.assert_allclose(net.logits(features, z[:, None])[:, 0], expected, atol=1e-4)


def test_posterior_sees_the_mask_as_one_hot_minus_a_half(net, image):
    """Defect: integer labels fed as if class 2 were twice class 1."""
    seen = {}
    encoder = net.posterior_encoder
    net.posterior_encoder = lambda x: seen.setdefault("x", x) is None or encoder(x)
    try:
        net.posterior(image, tf.fill([2, 16, 16], 2))
    finally:
        net.posterior_encoder = encoder
    np.testing.assert_array_equal(seen["x"][0, 0, 0, 1:], [-0.5, -0.5, 0.5])


def test_n_samples_take_one_pass_of_the_unet(net, image):
    """Defect: the whole network run again for each sample."""
    calls = []
    unet = net.unet
    net.unet = lambda x: calls.append(1) or unet(x)
    try:
        draw(net, image, image, 7, tf.constant([1, 2]))
    finally:
        net.unet = unet
    assert len(calls) == 1


def test_draws_are_probabilities_and_differ(net, image):
    probabilities, classes = draw(net, image, image, 6, tf.constant([1, 2]))
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=-1), 1.0, atol=1e-5)
    assert np.abs(probabilities[:, 0] - probabilities[:, 1]).max() > 1e-3
    assert classes.shape == [2, 6, 16, 16] and classes.dtype == tf.uint8
    assert np.any(classes[:, 0] != classes[:, 1])


def test_temperature_and_prior_scale_act(net, image):
    features, prior = net.features(image)
    noise = tf.random.stateless_normal([2, 4, *prior.loc.shape[1:]], [1, 2])
    plain = net.draw_logits(features, prior, noise)
    net.temperature.assign(2.0)
    halved = net.draw_logits(features, prior, noise)
    net.temperature.assign(1.0)
    net.prior_scale.assign(0.0)
    still = net.draw_logits(features, prior, noise)
    net.prior_scale.assign(1.0)
    np.testing.assert_allclose(halved * 2.0, plain, rtol=1e-5)
    np.testing.assert_allclose(still[:, 0], still[:, 1], atol=1e-6)


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (ProbaUNet(TINY, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other))


def test_elbo_equals_numpy(net, image, mask):
    """-ELBO = cross-entropy summed over the pixels + KL, both from the definition."""
    features, prior = net.features(image)
    posterior = net.posterior(image, mask)
    z = posterior.loc + 0.3 * posterior.scale
    logits = net.logits(features, z[:, None])[:, 0].numpy().astype("f8")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    nll = -np.log(np.take_along_axis(probabilities, mask.numpy()[..., None], axis=-1)).sum(axis=(1, 2, 3))
    mq, sq, mp, sp = (x.numpy().astype("f8") for x in (posterior.loc, posterior.scale, prior.loc, prior.scale))
    kl = (np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5).sum(axis=(1, 2, 3))
    ours = losses.negative_elbo(
        losses.cross_entropy(net.logits(features, z[:, None])[:, 0], mask),
        losses.free_bits(losses.kl_per_dimension(posterior, prior), 0.0),
        beta=0.7,
    )
    assert float(ours) == pytest.approx(nll.mean() + 0.7 * kl.mean(), rel=1e-4)


def test_upsampling_equals_tensorflow_bilinear_resize():
    x = tf.random.stateless_normal([2, 5, 7, 3], [1, 2])
    for factor in (2, 8):
        expected = tf.image.resize(x, [5 * factor, 7 * factor])
        np.testing.assert_allclose(network.BilinearUpsampling(factor)(x), expected, atol=1e-5)
