"""The configuration as frozen dataclasses: every key, its default and what is allowed.

`blendinator/config_loader.py` reads them from one YAML file; `configs/default.yaml` is made from this file, with the
comments of the fields, by `scripts/default_config.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendinator.stores import Place, place


def _limit(
    default: Any, low: float | None = None, high: float | None = None, choices: tuple[str, ...] | None = None
) -> Any:
    """A field with a default and its allowed range (both ends included) or choices."""
    metadata = {"low": low, "high": high, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class PopulationConfig:
    """Which galaxies are drawn and where; `data/population.py` holds the formulas and their sources."""

    magnitude_bright: float = _limit(16.0, 10.0, 30.0)  # AB magnitude of the brightest galaxy drawn
    magnitude_faint: float = _limit(27.0, 15.0, 32.0)  # AB magnitude of the faintest galaxy drawn
    density_scale: float = _limit(1.0, 0.0, 100.0)  # multiplies the published number counts
    margin: float = _limit(10.0, 0.0, 60.0)  # arcsec; galaxies are centred up to this far outside the stamp
    clustering: float = _limit(0.0, 0.0, 1.0)  # share of galaxies placed next to another one (natural population)
    clustering_radius: float = _limit(3.0, 0.1, 60.0)  # arcsec; largest distance of such neighbours
    boosted_magnitude_bright: float = _limit(17.0, 10.0, 30.0)  # bright end of the primaries in the boosted population
    boosted_magnitude_faint: float = _limit(25.0, 15.0, 32.0)  # faint end of the primaries in the boosted population
    boosted_separation_min: float = _limit(
        0.1, 0.01, 10.0
    )  # separation / sum of the semi-major half-light radii; log-uniform
    boosted_separation_max: float = _limit(3.0, 0.01, 10.0)
    boosted_magnitude_difference: float = _limit(3.0, 0.0, 10.0)  # drawn uniformly from 0 to this
    boosted_groups_max: int = _limit(2, 1, 20)  # groups per boosted scene: 1 to this many
    boosted_companions_max: int = _limit(2, 1, 20)  # companions of a group's first galaxy: 1 to this many
    boosted_single_share: float = _limit(0.25, 0.0, 1.0)  # of the groups, which are a galaxy without companion
    bright_range: tuple[float, ...] = _limit((16.0, 22.0), 10.0, 32.0)  # AB magnitude of the bright population's galaxy


@dataclass(frozen=True)
class StructureConfig:
    """Arms, clumps, bars, dust and nuclei of galaxies; `data/structure.py` holds their formulas and sources."""

    share: float = _limit(0.8, 0.0, 1.0)  # of the galaxies that get structure; 0 for smooth ellipses
    faintest: float = _limit(24.5, 10.0, 32.0)  # AB magnitude; fainter galaxies stay smooth
    max_fraction: float = _limit(0.3, 0.0, 0.95)  # of a galaxy's flux that blobs may hold


@dataclass(frozen=True)
class StarConfig:
    """Stars, by galactic latitude; `data/stars.py` holds the counts and their source."""

    density_scale: float = _limit(1.0, 0.0, 100.0)  # multiplies the number counts; 0 for none
    galactic_latitude: float = _limit(50.0, 30.0, 90.0)  # |b| in degrees
    magnitude_bright: float = _limit(15.0, 5.0, 25.0)  # AB magnitude of the brightest star
    boosted_share: float = _limit(0.3, 0.0, 1.0)  # of the boosted scenes, with one more star of any magnitude


@dataclass(frozen=True)
class DefectsConfig:
    """What detector and reduction leave in an image; `data/observing.py` says how it is drawn."""

    background_error: float = _limit(0.05, 0.0, 10.0)  # rms of the plane of background left, in sky sigma
    oversubtraction: float = _limit(0.1, 0.0, 1.0)  # largest share of the mean light that is taken for background
    depth_edge_share: float = _limit(0.1, 0.0, 1.0)  # of the scenes, with an edge beyond which a dither is missing
    dithers: int = _limit(4, 2, 1000)  # exposures on the deep side of such an edge
    residue_share: float = _limit(0.1, 0.0, 1.0)  # of the scenes, with what is left of a cosmic ray
    residue_range: tuple[float, ...] = _limit((3.0, 30.0), 0.1, 1e4)  # its light per pixel in sky sigma, log-uniform
    no_data_share: float = _limit(0.1, 0.0, 1.0)  # of the scenes, with a bad column or a group of bad pixels


@dataclass(frozen=True)
class SimulationConfig:
    """One span of simulated scenes."""

    seed: int = _limit(1, 0, 2**31 - 1)
    survey: str = _limit("euclid_wide", choices=("euclid_wide", "euclid_deep", "lsst_i", "hst_f814w", "hsc_i"))
    noise_scale: float = _limit(1.0, 0.01, 100.0)  # multiplies the survey's sky noise
    psf_scale: float = _limit(1.0, 0.1, 10.0)  # multiplies the survey's PSF FWHM
    psf_profile: str = _limit("airy_gaussian", choices=("airy_gaussian", "moffat"))
    psf_moffat_beta: float = _limit(3.5, 1.5, 20.0)  # exponent of the Moffat profile
    # The conditions of each scene are drawn between two ends; two equal numbers fix them.
    noise_range: tuple[float, ...] = _limit((0.7, 1.4), 0.01, 100.0)  # sky noise over the nominal one, log-uniform
    psf_range: tuple[float, ...] = _limit((0.82, 1.18), 0.1, 10.0)  # PSF FWHM over the nominal one
    psf_ellipticity_scatter: float = _limit(0.01, 0.0, 0.2)  # per component, between scenes
    noise_correlation: tuple[float, ...] = _limit((0.0, 1.3), 0.0, 3.0)  # Gaussian sigma of the noise kernel, pixels
    white_noise_share: float = _limit(0.5, 0.0, 1.0)  # of the scenes, whose noise is white whatever noise_correlation
    renderer: str = _limit("fourier", choices=("fourier", "galsim"))
    render_level: float = _limit(0.05, 1e-4, 1.0)  # sky sigma per pixel below which a galaxy's outskirts are left out
    stamp_size: int = _limit(64, 32, 256)  # pixels
    truth_threshold: float = _limit(1.0, 0.1, 10.0)  # k: noise-free flux above k sky sigma belongs to the galaxy
    train_scenes: int = _limit(12000, 1, 10**9)
    calibration_scenes: int = _limit(5000, 1, 10**9)
    test_scenes: int = _limit(5000, 1, 10**9)
    # Shares of the populations in each split, by name; they sum to 1, and one that is not named has none.
    train_populations: Mapping[str, float] = _limit({"boosted": 0.5, "natural": 0.25, "bright": 0.25}, 0.0, 1.0)
    calibration_populations: Mapping[str, float] = _limit({"boosted": 0.2, "natural": 0.8}, 0.0, 1.0)
    test_populations: Mapping[str, float] = _limit({"boosted": 0.2, "natural": 0.8}, 0.0, 1.0)
    scenes_per_shard: int = _limit(500, 1, 10**6)
    catalog: str = _limit("")  # a galaxy catalogue to draw from instead of the analytic population
    stamps: str = _limit("")  # a FITS file of galaxies to render instead of profiles; see docs/simulations.md
    stamps_share: float = _limit(1.0, 0.0, 1.0)  # of the galaxies brighter than stamps_faintest
    stamps_faintest: float = _limit(24.5, 10.0, 32.0)  # AB magnitude; fainter galaxies keep their profiles
    population: PopulationConfig = field(default_factory=PopulationConfig)
    structure: StructureConfig = field(default_factory=StructureConfig)
    stars: StarConfig = field(default_factory=StarConfig)
    defects: DefectsConfig = field(default_factory=DefectsConfig)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network."""

    channels: tuple[int, ...] = _limit((16, 32, 64, 128), 1, 1024)  # per scale; each further scale halves the pixels
    convs_per_block: int = _limit(3, 1, 8)
    head_channels: int = _limit(16, 1, 256)  # channels of the features handed to the head, and of its hidden layers
    head_layers: int = _limit(3, 1, 8)
    latent: str = _limit("spatial", choices=("global", "spatial"))
    latent_dim: int = _limit(4, 1, 64)  # channels of the latent, per position when spatial
    # Pixels over which the fields are smooth that decide the classes of a sample; a pixel's mixture of them is learned.
    sample_scales: tuple[float, ...] = _limit((3.0, 9.0, 27.0, 81.0), 1.0, 512.0)
    prior_encoder: str = _limit("shared", choices=("shared", "separate"))  # shared: the U-Net's own encoder


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained."""

    seed: int = _limit(1, 0, 2**31 - 1)
    steps: int = _limit(5600, 1, 10**8)
    minutes: float = _limit(
        0.0, 0.0, 1e6
    )  # a time budget that shortens `steps` to what this machine can do; 0 for none
    batch_size: int = _limit(32, 1, 8192)
    learning_rate: float = _limit(3e-3, 1e-7, 1.0)  # of all other weights, by Adam
    kernel_learning_rate: float = _limit(0.01, 1e-7, 1.0)  # of the convolutions' kernels, by Muon
    weight_decay: float = _limit(1e-5, 0.0, 1.0)
    gradient_clip: float = _limit(100.0, 1e-3, 1e9)  # global norm of the pixel-summed loss's gradient, per image
    beta: float = _limit(1.0, 0.0, 100.0)  # weight of the KL term; 1 is a true ELBO
    beta_warmup: float = _limit(0.08, 0.0, 1.0)  # share of the steps over which beta rises from 0
    deterministic_share: float = _limit(0.7, 0.0, 0.95)  # share of the steps trained with z = 0, before the latent
    free_bits: float = _limit(0.0, 0.0, 10.0)  # nats per latent dimension that the KL may cost for free
    kl_balance: float = _limit(0.5, 0.0, 1.0)  # share of the KL's gradient that goes to the prior
    multi_sample_share: float = _limit(0.2, 0.0, 1.0)  # last share of the steps on M draws from the prior
    multi_sample_draws: int = _limit(8, 2, 64)  # M
    natural_share: float = _limit(0.5, 0.0, 1.0)  # of each batch in multi-sample steps, at natural density
    marginal_weight: float = _limit(0.5, 0.0, 1.0)  # of the pixels' own NLL beside the blocks' in multi-sample steps
    fresh_noise: bool = _limit(True)  # draw new noise at every step instead of using the stored noisy image
    precision: str = _limit("auto", choices=("auto", "float32", "bfloat16"))  # auto: bfloat16 where the CPU has it
    devices: str = _limit("one", choices=("one", "all"))  # all: every GPU of the machine takes a part of each batch
    evaluate_every: int = _limit(600, 1, 10**8)  # steps between evaluations on the calibration split
    patience: int = _limit(8, 1, 10**6)  # evaluations without improvement before training stops
    evaluation_scenes: int = _limit(512, 1, 10**9)  # scenes of the calibration split used for that


@dataclass(frozen=True)
class ThresholdConfig:
    """One rule of the gate: a metric of one population and slice with its bound."""

    metric: str = _limit("")
    population: str = _limit("boosted")  # whose scenes count, such as boosted or natural
    slice: str = _limit("")  # a bin of evaluation.slices, as "min_separation 0.3 to 0.7"; the whole population if empty
    # what must keep to min and max: the value, or the worse (pessimistic) or better (optimistic) end of its interval.
    bound: str = _limit("value", choices=("value", "pessimistic", "optimistic"))
    min: float | None = _limit(None)
    max: float | None = _limit(None)


@dataclass(frozen=True)
class RelativeConfig:
    """One rule against the live model: a metric may be worse than the live one's by at most `margin`."""

    metric: str = _limit("")
    population: str = _limit("boosted")  # whose scenes count, such as boosted or natural
    slice: str = _limit("")  # as in a threshold
    margin: float = _limit(0.0, 0.0, 1e9)  # in the metric's own unit
    # which end of the paired difference's interval must keep to it: pessimistic requires evidence that the model is not
    # worse, optimistic refuses it only when it is shown to be worse.
    bound: str = _limit("optimistic", choices=("value", "pessimistic", "optimistic"))


@dataclass(frozen=True)
class ClassicalConfig:
    """Source detection and deblending with SExtractor's library, as a baseline on the same scenes.

    The defaults are the "hot" settings of the Euclid morphology challenge and SExtractor's own extent of an object.
    """

    enabled: bool = _limit(True)  # needs the package `sep`; without it the baseline is left out
    threshold: float = _limit(2.0, 0.1, 100.0)  # sky sigma
    min_area: int = _limit(5, 1, 10**4)  # pixels
    deblend_levels: int = _limit(64, 1, 1024)
    deblend_contrast: float = _limit(0.001, 0.0, 1.0)
    ellipse_scale: float = _limit(3.0, 0.1, 20.0)  # semi-axes of an object, in units of its second moments


@dataclass(frozen=True)
class SliceConfig:
    """Bins of one scalar of the record, in its own unit."""

    scalar: str = _limit("")
    edges: tuple[float, ...] = _limit(())


@dataclass(frozen=True)
class EvaluationConfig:
    """The calibration metrics and the gate."""

    seed: int = _limit(1, 0, 2**31 - 1)
    num_samples: int = _limit(16, 2, 256)
    batch_size: int = _limit(32, 1, 4096)
    near_source_radius: int = _limit(3, 0, 64)  # pixels
    calibration_bins: int = _limit(15, 2, 200)
    bootstrap_replicates: int = _limit(400, 2, 10**5)  # of the 95 % intervals
    min_scenes: int = _limit(30, 1, 10**9)  # a rule on fewer scenes than this fails, and says so
    gallery_scenes: int = _limit(10, 1, 50)  # rows of the picture page
    object_overlap: float = _limit(0.5, 0.01, 1.0)  # share of a blend's pixels that must agree for it to count as found
    classical: ClassicalConfig = field(default_factory=ClassicalConfig)
    thresholds: tuple[ThresholdConfig, ...] = (
        ThresholdConfig("iou_galaxy", "boosted", min=0.62),
        ThresholdConfig("iou_blended", "boosted", min=0.35),
        ThresholdConfig("iou_blended", "natural", min=0.12),
        ThresholdConfig("reliability_blended", "natural", max=0.08),
        ThresholdConfig("blended_area_ratio", "natural", min=0.7, max=1.4),
        ThresholdConfig("ece_near_sources", "natural", max=0.02),
        ThresholdConfig("coverage_galaxy_area_68", "natural", min=0.58, max=0.82),
        ThresholdConfig("coverage_blended_area_68", "natural", min=0.58, max=0.78),
        ThresholdConfig("diversity_blended", "boosted", min=0.05),
    )
    relative: tuple[RelativeConfig, ...] = (
        RelativeConfig("iou_blended", "boosted", margin=0.02),
        RelativeConfig("nll_near_sources", "boosted", margin=0.02),
        RelativeConfig("ged", "boosted", margin=0.02),
    )
    slices: tuple[SliceConfig, ...] = (
        SliceConfig("min_separation", (0.0, 0.3, 0.7, 1.5, 5.0)),
        SliceConfig("brightest_magnitude", (16.0, 20.0, 22.0, 24.0, 27.0)),
        SliceConfig("brightest_star", (15.0, 18.0, 20.0, 22.0, 24.0, 26.0)),
        SliceConfig("magnitude_difference", (0.0, 0.5, 1.0, 2.0, 10.0)),
        SliceConfig("snr", (0.0, 10.0, 30.0, 100.0, 1e6)),
        SliceConfig("num_galaxies", (0.0, 1.0, 2.0, 3.0, 5.0, 100.0)),
    )


@dataclass(frozen=True)
class ServingConfig:
    """How the exported model is checked before it is pushed; see docs/serving.md."""

    # savedmodel: every signature in a fresh process; triton: then also by a Triton server on this machine.
    infra_check: str = _limit("savedmodel", choices=("savedmodel", "triton"))
    triton_python: str = _limit(".tools/triton/bin/python")  # of the environment that holds Triton
    triton_timeout: float = _limit(600.0, 1.0, 86400.0)  # seconds until the server must be ready


@dataclass(frozen=True)
class WarmStartConfig:
    """Training that goes on from the live model's weights."""

    enabled: bool = _limit(True)
    steps_share: float = _limit(0.1, 0.001, 1.0)  # of training.steps
    learning_rate_share: float = _limit(0.1, 1e-4, 1.0)  # of the learning rates of `training`
    deterministic_share: float = _limit(0.0, 0.0, 0.95)  # share of the steps with z = 0, before the latent
    multi_sample_share: float = _limit(1.0, 0.0, 1.0)  # last share of the steps on draws from the prior; between: ELBO
    average: float = _limit(0.5, 0.0, 1.0)  # weight of the trained weights in their mean with those of the start
    max_sigma_change: float = _limit(0.05, 0.0, 1.0)  # of the normalisation, relative; beyond it training starts cold


@dataclass(frozen=True)
class DriftConfig:
    """How far the data may be from those that the live model was trained on."""

    action: str = _limit("stop", choices=("stop", "warn", "off"))
    standard_errors: float = _limit(5.0, 1.0, 100.0)  # a difference within this many standard errors is noise
    location: float = _limit(0.1, 0.0, 100.0)  # of a scalar's mean, in units of its spread in the reference
    relative: float = _limit(0.1, 0.0, 100.0)  # of a scalar's mean, and of the pixels' noise
    distance: float = _limit(0.1, 0.0, 1.0)  # Jensen-Shannon divergence of the histograms, in bits


@dataclass(frozen=True)
class RetrainingConfig:
    """What `blendinator retrain` does, and what is kept of earlier runs; see docs/retraining.md."""

    spans: str = _limit("latest")  # the spans to train on: latest, latest:3, or numbers and ranges
    simulate: bool = _limit(True)  # simulate a new span first, when the newest one has been used
    keep_versions: int = _limit(5, 1, 10**4)  # pushed versions; the live one and baselines of kept ones stay as well
    keep_runs: int = _limit(3, 1, 10**4)  # runs whose artifacts and reports stay; those of kept versions do as well
    keep_spans: int = _limit(8, 0, 10**6)  # simulated spans; 0 for all
    keep_logs: int = _limit(30, 1, 10**6)
    on_failure: str = _limit("")  # a command for the shell when a run failed
    on_refusal: str = _limit("")  # likewise when the model was not pushed
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)


@dataclass(frozen=True)
class BeamConfig:
    """Where Beam's steps run."""

    pipeline_args: tuple[str, ...] = _limit(())  # handed to Beam in TFX's components; see docs/beam.md
    simulation_workers: int = _limit(0, 0, 1024)  # processes that simulate; 0: one per core


@dataclass(frozen=True)
class ResourceConfig:
    """What the pod of a component asks for. Memory in GB; a limit of 0 is none."""

    component: str = _limit("")  # such as Trainer; empty for all that have no entry of their own
    cpu: float = _limit(1.0, 0.0, 1024.0)  # cores
    cpu_limit: float = _limit(0.0, 0.0, 1024.0)
    memory: float = _limit(4.0, 0.0, 1e5)
    memory_limit: float = _limit(0.0, 0.0, 1e5)
    gpu: int = _limit(0, 0, 64)
    gpu_type: str = _limit("nvidia.com/gpu")  # the resource's name on the cluster
    node_selector: tuple[str, ...] = _limit(())  # labels that the node must have, as "key=value"


@dataclass(frozen=True)
class SecretConfig:
    """A Kubernetes secret that every task sees, as files or as environment variables."""

    name: str = _limit("")
    mount_path: str = _limit("")  # folder for its files; none if empty
    env: tuple[str, ...] = _limit(())  # "KEY=VARIABLE": the secret's key and the variable that gets its value


@dataclass(frozen=True)
class KubeflowConfig:
    """The pipeline on Kubeflow Pipelines v2; see docs/kubeflow.md."""

    host: str = _limit("")  # address of the API, such as http://localhost:8080
    namespace: str = _limit("")  # of the user, on a multi-user installation
    experiment: str = _limit("blendinator")
    service_account: str = _limit("")  # of the tasks' pods; the installation's default if empty
    claim: str = _limit("blendinator")  # PersistentVolumeClaim for data, checkpoints and pushed versions; none if empty
    mount_path: str = _limit("/mnt/blendinator")  # where every task sees it; takes the place of output_dir
    artifacts_on_volume: bool = _limit(False)  # artifacts there too, not in Kubeflow's object store (Flink, Spark)
    secrets: tuple[SecretConfig, ...] = ()
    resources: tuple[ResourceConfig, ...] = (
        ResourceConfig(""),
        ResourceConfig("Trainer", cpu=4.0, memory=8.0),
        ResourceConfig("CalibrationEvaluator", cpu=2.0, memory=6.0),
    )


@dataclass(frozen=True)
class StorageConfig:
    """Where spans and pushed versions lie: a folder, or an address in an object store, gs://bucket/folder."""

    data_root: str = _limit("")  # of the spans; below output_dir if empty
    serving_dir: str = _limit("")  # of the pushed versions; below output_dir if empty


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    name: str = _limit("blendinator")
    output_dir: str = _limit("output")  # a relative path is taken from the current folder
    storage: StorageConfig = field(default_factory=StorageConfig)
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    beam: BeamConfig = field(default_factory=BeamConfig)
    kubeflow: KubeflowConfig = field(default_factory=KubeflowConfig)

    @property
    def data_root(self) -> Place:
        """Folder of the spans: `span-0001`, `span-0002`, ..."""
        return place(self.storage.data_root or Path(self.output_dir) / "data", "storage.data_root")

    @property
    def pipeline_root(self) -> Path:
        """Folder of TFX's artifacts."""
        return Path(self.output_dir) / "pipeline"

    @property
    def checkpoint_root(self) -> Path:
        """Folder of all trainings' checkpoints, and of what a training maps into memory."""
        return Path(self.output_dir) / "checkpoints"

    @property
    def metadata_path(self) -> Path:
        """The ML Metadata store, an SQLite file."""
        return Path(self.output_dir) / "metadata.sqlite"

    @property
    def serving_dir(self) -> Place:
        """Folder of the pushed versions, as TensorFlow Serving expects it."""
        return place(self.storage.serving_dir or Path(self.output_dir) / "serving" / self.name, "storage.serving_dir")
