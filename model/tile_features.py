"""The U-Net's features of a tile without its margins: what only the margins need is not computed.

Context far from a pixel enters through the coarse scales alone: a margin of the receptive radius is needed in the
encoder, and only a few positions of it at each scale of the decoder.
"""

import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model.network import downsampling
from blendinator.model.probaunet import ProbaUNet


def decoder_margins(config: ModelConfig) -> list[int]:
    """Positions around the inner part that the decoder's first convolution needs at each scale, the finest first; the
    last number is that of the coarsest features."""
    margins = []
    wanted = 0
    for _ in config.channels[:-1]:
        margins.append(wanted + config.convs_per_block)
        wanted = (margins[-1] + 1) // 2 + 1  # bilinear upsampling looks at one neighbour more
    return [*margins, wanted]


def trim(x: tf.Tensor, margins: tf.Tensor) -> tf.Tensor:
    """[B, H, W, ...] without `margins` (top, bottom, left, right)."""
    shape = tf.shape(x)
    return x[:, margins[0] : shape[1] - margins[1], margins[2] : shape[2] - margins[3]]


def tile_features(model: ProbaUNet, image: tf.Tensor, margins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`ProbaUNet.features` of the inner part of an image: the same values, without the margins.

    Args:
      model: the ProbaUNet.
      image: normalised [B, H, W, C].
      margins: int32 [4], multiples of the downsampling: rows at the top and bottom, columns at the left and right.
        Values are exact where they are 0, at the image's border, or at least the receptive radius.

    Returns:
      Features [B, H', W', F] without the margins, and the prior's mean and scale [B, h, w, L] with one position of
      the margins, where there is one: the latent is interpolated between positions.
    """
    config, unet = model.config, model.unet
    layer = lambda name: unet.get_layer(name)

    def convolve(x: tf.Tensor, name: str) -> tf.Tensor:
        for i in range(config.convs_per_block):
            x = layer(f"{name}_conv{i}")(x)
        return x

    x, scales = image, []
    for scale in range(len(config.channels)):
        x = convolve(layer(f"down{scale}_pool")(x) if scale else x, f"down{scale}")
        scales.append(x)
    needed = decoder_margins(config)
    has = margins // downsampling(config)
    coarse = model.prior_encoder(image) if model.prior_encoder is not None else x
    if config.latent == "spatial":
        coarse = trim(coarse, has - tf.minimum(has, 1))
    kept = tf.minimum(has, needed[-1])
    x = trim(x, has - kept)
    for scale in reversed(range(len(scales) - 1)):
        x = layer(f"up{scale}_bilinear")(layer(f"up{scale}_reduce")(x))
        has = margins // 2**scale
        wanted = tf.minimum(has, needed[scale])
        x = layer(f"up{scale}_skip")([trim(x, 2 * kept - wanted), trim(scales[scale], has - wanted)])
        x, kept = convolve(x, f"up{scale}"), wanted
    mu, log_sigma = model.prior_gaussian(coarse)
    return trim(layer("features")(x), kept), mu, tf.exp(log_sigma)
