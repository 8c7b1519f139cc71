"""The layers of the ProbaUNet: encoder, U-Net with a feature output, Gaussian parameters and the head.

Shapes follow Kohl et al. 2018 (arXiv:1806.05034): 3x3 convolutions with ReLU, average pooling on the way down, bilinear
upsampling with skip connections on the way up. Each function returns a Keras model that works on any height and width
that are multiples of `downsampling(config)`. `seeds` yields one seed for each layer's initial weights.
"""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.data.records import NUM_CLASSES
from blendinator.model import sampling


def downsampling(config: ModelConfig) -> int:
    """Ratio of the image's side to that of the coarsest features."""
    return 2 ** (len(config.channels) - 1)


def receptive_radius(config: ModelConfig) -> int:
    """Distance in pixels (a multiple of `downsampling`) beyond which no other pixel can touch a pixel's draws.

    Followed through the layers, for the pixels that a row of one output position looks at: a 3x3 convolution adds one
    position of its scale on each side, pooling spans the finer positions under a coarser one, bilinear upsampling looks
    at one neighbour more.
    """
    scales, convs = len(config.channels), config.convs_per_block
    factor = downsampling(config)

    def down(low: int, high: int, scale: int) -> tuple[int, int]:  # positions of a scale -> pixels, through the encoder
        for _ in range(scale):
            low, high = 2 * (low - convs), 2 * (high + convs) + 1
        return low - convs, high + convs

    def up(low: int, high: int, by: int) -> tuple[int, int]:  # positions after upsampling -> positions before
        return (2 * low + 1 - by) // (2 * by), (2 * high + 1 - by) // (2 * by) + 1

    reach = 0
    for pixel in range(factor):  # where in a coarse position the pixel lies
        low = high = pixel
        for scale in range(scales - 1):  # decoder, from the finest scale, with the skip connection of each
            low, high = low - convs, high + convs
            skip = down(low, high, scale)
            reach = max(reach, pixel - skip[0], skip[1] - pixel)
            low, high = up(low, high, 2)
        latent = up(pixel, pixel, factor)
        for ends in (down(low, high, scales - 1), down(latent[0], latent[1], scales - 1)):
            reach = max(reach, pixel - ends[0], ends[1] - pixel)
    return -(-reach // factor) * factor


class BilinearUpsampling(keras.layers.Layer):
    """Bilinear upsampling by an integer factor, [B, h, w, C] -> [B, f h, f w, C], half-pixel centres.

    Written as small matrix products, one an axis: on a CPU in bfloat16 this and its gradient take a third of the time
    of `tf.image.resize`. One dense matrix does for the stamps of a training; its cost per pixel grows with the side, so
    an image that is large or of unknown size (an export) is done in windows of `_WINDOW` positions, with the same
    result.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self._along_columns(self._along_rows(x))

    def _along_rows(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        height, width, channels = shape[1], shape[2], x.shape[-1]
        if _is_small(x.shape[1]):
            rows = tf.matmul(
                _interpolation_matrix(height, self.factor, x.dtype), tf.reshape(x, [shape[0], height, width * channels])
            )
        else:
            windows, count = _windows(x, height, axis=1)
            rows = tf.matmul(
                _window_matrix(self.factor, x.dtype),
                tf.reshape(windows, [shape[0], count, _WINDOW + 2, width * channels]),
            )
            rows = tf.reshape(rows, [shape[0], count * _WINDOW * self.factor, width * channels])[
                :, : self.factor * height
            ]
        return tf.reshape(rows, [shape[0], self.factor * height, width, channels])

    def _along_columns(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        height, width, channels = shape[1], shape[2], x.shape[-1]
        if _is_small(x.shape[2]):
            return tf.matmul(_interpolation_matrix(width, self.factor, x.dtype), x)
        windows, count = _windows(x, width, axis=2)
        columns = tf.matmul(_window_matrix(self.factor, x.dtype), windows)
        columns = tf.reshape(columns, [shape[0], height, count * _WINDOW * self.factor, channels])
        return columns[:, :, : self.factor * width]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        grow = lambda side: None if side is None else side * self.factor
        return batch, grow(height), grow(width), channels


_WINDOW = 16  # positions upsampled by one small matrix
_SMALL = 64  # positions up to which one dense matrix is as fast


def _is_small(side: int | None) -> bool:
    return side is not None and side <= _SMALL


def _windows(x: tf.Tensor, length: tf.Tensor | int, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Windows of `_WINDOW` positions and one neighbour on each side along an axis, and their number."""
    count = (length + _WINDOW - 1) // _WINDOW
    positions = tf.range(count)[:, None] * _WINDOW + tf.range(-1, _WINDOW + 1)[None, :]
    return tf.gather(x, tf.clip_by_value(positions, 0, length - 1), axis=axis), count


def _window_matrix(factor: int, dtype: tf.DType) -> tf.Tensor:
    """[factor * _WINDOW, _WINDOW + 2] weights of linear interpolation within a window."""
    target = (tf.range(factor * _WINDOW, dtype=tf.float32) + 0.5) / factor - 0.5
    source = tf.range(-1, _WINDOW + 1, dtype=tf.int32)
    return tf.cast(tf.nn.relu(1.0 - tf.abs(target[:, None] - tf.cast(source, tf.float32)[None, :])), dtype)


def _interpolation_matrix(length: tf.Tensor | int, factor: int, dtype: tf.DType) -> tf.Tensor:
    """[factor * length, length] weights of linear interpolation, the border value held beyond the border."""
    source = tf.cast(tf.range(length), tf.float32)
    target = (tf.cast(tf.range(factor * length), tf.float32) + 0.5) / factor - 0.5
    target = tf.clip_by_value(target, 0.0, tf.cast(length - 1, tf.float32))
    return tf.cast(tf.nn.relu(1.0 - tf.abs(target[:, None] - source[None, :])), dtype)


def _he_normal(seeds: Iterator[int]) -> keras.initializers.Initializer:
    return keras.initializers.HeNormal(seed=next(seeds))


def _convolutions(x: Any, channels: int, count: int, dtype: Any, seeds: Iterator[int], name: str) -> Any:
    for i in range(count):
        x = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=_he_normal(seeds),
            dtype=dtype,
            name=f"{name}_conv{i}",
        )(x)
    return x


def _encode(x: Any, config: ModelConfig, dtype: Any, seeds: Iterator[int]) -> list:
    """Features at each scale, the finest first."""
    features = []
    for scale, channels in enumerate(config.channels):
        if scale:
            x = keras.layers.AveragePooling2D(2, dtype=dtype, name=f"down{scale}_pool")(x)
        x = _convolutions(x, channels, config.convs_per_block, dtype, seeds, f"down{scale}")
        features.append(x)
    return features


def build_encoder(config: ModelConfig, in_channels: int, dtype: str, seeds: Iterator[int], name: str) -> keras.Model:
    """[B, H, W, in_channels] -> coarsest features [B, H/f, W/f, channels[-1]] with f = `downsampling(config)`."""
    image = keras.Input((None, None, in_channels), name=f"{name}_input")
    return keras.Model(image, _encode(image, config, dtype, seeds)[-1], name=name)


def build_unet(config: ModelConfig, bands: int, dtype: str, seeds: Iterator[int], name: str = "unet") -> keras.Model:
    """[B, H, W, bands] -> (features [B, H, W, head_channels], coarsest features [B, H/f, W/f, channels[-1]]).

    It outputs features, not logits: the head must see enough of the image for z to act on it.
    """
    image = keras.Input((None, None, bands), name=f"{name}_input")
    scales = _encode(image, config, dtype, seeds)
    x = scales[-1]
    for scale in reversed(range(len(scales) - 1)):
        channels = config.channels[scale]
        # The 1x1 convolution before the upsampling quarters its cost and halves that of the next convolution.
        x = keras.layers.Conv2D(
            channels, 1, kernel_initializer=_he_normal(seeds), dtype=dtype, name=f"up{scale}_reduce"
        )(x)
        x = BilinearUpsampling(2, dtype=dtype, name=f"up{scale}_bilinear")(x)
        x = keras.layers.Concatenate(dtype=dtype, name=f"up{scale}_skip")([x, scales[scale]])
        x = _convolutions(x, channels, config.convs_per_block, dtype, seeds, f"up{scale}")
    x = keras.layers.Conv2D(
        config.head_channels, 1, kernel_initializer=_he_normal(seeds), dtype=dtype, name="features"
    )(x)
    return keras.Model(image, [x, scales[-1]], name=name)


def build_gaussian(config: ModelConfig, seeds: Iterator[int], name: str) -> keras.Model:
    """Coarsest features -> (mu, log sigma) of z, float32 and without any activation.

    Shapes: [B, 1, 1, latent_dim] for the global latent (a mean over all positions first), [B, h, w, latent_dim] for the
    spatial one.
    """
    features = keras.Input((None, None, config.channels[-1]), name=f"{name}_input")
    x = features
    if config.latent == "global":
        x = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype="float32", name=f"{name}_mean")(x)
    mu = keras.layers.Conv2D(
        config.latent_dim, 1, dtype="float32", kernel_initializer=_he_normal(seeds), name=f"{name}_mu"
    )(x)
    log_sigma = keras.layers.Conv2D(
        config.latent_dim, 1, dtype="float32", kernel_initializer="zeros", name=f"{name}_log_sigma"
    )(x)
    return keras.Model(features, [mu, log_sigma], name=name)


class Head(keras.layers.Layer):
    """Mixes z into the features by 1x1 convolutions: f_comb of Kohl et al.

    The first of its layers is linear in (features, z), so its two halves are computed apart: that of the features once
    an image, that of z at z's own resolution. Only the rest runs once a draw.
    """

    def __init__(self, config: ModelConfig, seeds: Iterator[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        conv = lambda channels, name, **options: keras.layers.Conv2D(
            channels, 1, kernel_initializer=_he_normal(seeds), dtype=self.dtype_policy, name=name, **options
        )
        self.from_latent = conv(config.head_channels, "from_latent", use_bias=False)
        self.hidden = [
            conv(config.head_channels, f"hidden{i}", activation="relu") for i in range(1, config.head_layers)
        ]
        self.to_logits = conv(NUM_CLASSES, "logits")
        self.upsample = BilinearUpsampling(downsampling(config), dtype=self.dtype_policy, name="latent_upsampling")
        self.spatial = config.latent == "spatial"
        self.head_channels = config.head_channels
        self.latent_dim = config.latent_dim

    def build(self, features_shape: Any, z_shape: Any = None) -> None:
        hidden_shape = (None, None, None, self.head_channels)
        self.from_latent.build((None, None, None, self.latent_dim))
        for layer in [*self.hidden, self.to_logits]:
            layer.build(hidden_shape)
        self.built = True

    def call(self, features: tf.Tensor, z: tf.Tensor | None = None) -> tf.Tensor:
        """Features [B, H, W, F] and z of N draws [B, N, h, w, L] -> logits [B, N, H, W, 3], float32.

        Without z (z = 0) -> [B, H, W, 3].
        """
        if z is None:
            return self._mix(features)
        batch, draws, height, width = tf.unstack(tf.shape(z)[:4])
        shift = self.from_latent(tf.reshape(z, [batch * draws, height, width, self.latent_dim]))
        if self.spatial:
            shift = self.upsample(shift)
        side = tf.shape(shift)[1:3]
        shift = tf.reshape(shift, [batch, draws, side[0], side[1], self.head_channels])
        height, width = tf.unstack(tf.shape(features)[1:3])
        x = tf.reshape(features[:, None] + shift, [batch * draws, height, width, self.head_channels])
        logits = tf.reshape(self._mix(x), [batch, draws, height, width, NUM_CLASSES])
        return tf.ensure_shape(logits, [None, z.shape[1], *features.shape[1:3], NUM_CLASSES])

    def _mix(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.relu(x)
        for layer in self.hidden:
            x = layer(x)
        return tf.cast(self.to_logits(x), tf.float32)


class FieldWeights(keras.layers.Layer):
    """Weights of the smooth fields behind a sample's classes (`blendinator.model.sampling`), from the features.

    Two 1x1 convolutions and a softmax, in float32, once per image. They are fitted after the training
    (`blendinator.model.copula`) and never by it; before that, all weights of a pixel are equal.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.scales = len(config.sample_scales)
        self.inputs = config.head_channels
        dense = lambda units, name: keras.layers.Dense(
            units, kernel_initializer="zeros", dtype="float32", trainable=False, name=name
        )
        self.hidden = dense(config.head_channels, "hidden")
        self.to_logits = dense(sampling.CLASS_FIELDS * self.scales, "logits")

    def build(self, features_shape: Any = None) -> None:
        self.hidden.build((None, self.inputs))
        self.to_logits.build((None, self.inputs))
        self.built = True

    def make_equal(self) -> None:
        """Gives all scales the same weight in every pixel, as before the fit."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Features [B, H, W, F] -> weights float32 [K, B, 2, H, W] of K scales, whose squares sum to 1 over K."""
        logits = self.to_logits(tf.nn.relu(self.hidden(tf.cast(features, tf.float32))))
        shape = tf.concat([tf.shape(logits)[:3], [sampling.CLASS_FIELDS, self.scales]], 0)
        # The root of the softmax, written so that its gradient stays finite where a weight vanishes.
        return tf.transpose(tf.exp(0.5 * tf.nn.log_softmax(tf.reshape(logits, shape))), [4, 0, 3, 1, 2])
