"""Small scenes and a real transform graph for the tests of the model."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from blendinator.config import Config, ModelConfig, TrainingConfig
from blendinator.model.input_data import Scenes
from blendinator.model.preprocessing import preprocessing_fn

SIDE = 16
SKY_SIGMA = 26.0


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return dataclasses.replace(
        Config(),
        model=ModelConfig(channels=(6, 8), convs_per_block=1, head_channels=6, head_layers=2, latent_dim=2),
        training=TrainingConfig(
            steps=8,
            batch_size=4,
            evaluate_every=4,
            precision="float32",
            evaluation_scenes=8,
            deterministic_share=0.0,
            multi_sample_share=0.0,
        ),
    )


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Thirty scenes of 16 x 16 pixels with one or two round galaxies each."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    noise_free = np.zeros((30, SIDE, SIDE), "f4")
    count = np.zeros((30, SIDE, SIDE), "i4")
    for i in range(30):
        for _ in range(1 + i % 2):
            y, x = rng.uniform(4, 12, 2)
            galaxy = rng.uniform(100, 600) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
            noise_free[i] += galaxy
            count[i] += galaxy > SKY_SIGMA
    image = noise_free + rng.normal(0, SKY_SIGMA, noise_free.shape)
    return Scenes(
        image=image.astype("f4")[..., None],
        noise_free=noise_free[..., None],
        mask=np.minimum(count, 2).astype("u1"),
        sky_sigma=np.full((30, 1), SKY_SIGMA, "f4"),
        noise_correlation=np.zeros(30, "f4"),
        population=np.where(np.arange(30) % 2 == 0, "natural", "boosted"),
    )


@pytest.fixture(scope="session")
def normalise():
    return lambda image: tf.asinh(image / SKY_SIGMA)


@pytest.fixture(scope="session")
def transform_graph(tmp_path_factory, scenes) -> str:
    """The output folder of TensorFlow Transform, fitted on the scenes."""
    folder = tmp_path_factory.mktemp("transform")
    spec = {"image": tf.io.FixedLenFeature([SIDE, SIDE, 1], tf.float32)}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    rows = [{"image": image} for image in scenes.image]
    with tft_beam.Context(temp_dir=str(folder / "tmp")):
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
    return str(folder / "graph")


@pytest.fixture(scope="session")
def transform_output(transform_graph) -> tft.TFTransformOutput:
    return tft.TFTransformOutput(transform_graph)
