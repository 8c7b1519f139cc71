"""The metrics that reports and lists show, of all that an evaluation computes."""

from dataclasses import dataclass

__all__ = ["HEADLINES", "Headline"]


@dataclass(frozen=True)
class Headline:
    """A metric in words.

    Attributes:
      name: its key in metrics.json.
      label: what it is.
      better: where better values lie: "↑", "↓", the value that is right, or "" for neither.
      listed: whether `blendinator models` and `lineage` show it.
      card: whether the released model's card holds it.
    """

    name: str
    label: str
    better: str
    listed: bool = False
    card: bool = False


HEADLINES = (
    Headline("iou_galaxy", "IoU, one source", "↑", listed=True, card=True),
    Headline("iou_blended", "IoU, blended", "↑", listed=True, card=True),
    Headline("object_completeness", "completeness of blends", "↑"),
    Headline("object_purity", "purity of blends", "↑"),
    Headline("object_f1", "F1 of blends", "↑"),
    Headline("nll_near_sources", "NLL near sources (nats per pixel)", "↓"),
    Headline("brier_near_sources", "Brier score near sources", "↓"),
    Headline("reliability_blended", "P(blended) against frequency, mean deviation", "↓", card=True),
    Headline("blended_area_ratio", "expected over true blended area", "1", card=True),
    Headline("ece_near_sources", "calibration error near sources", "↓", listed=True, card=True),
    Headline("error_auroc_near_sources", "AUROC of entropy against error", "↑"),
    Headline("ged", "energy distance (GED, unbiased)", "↓", listed=True, card=True),
    Headline("energy_score", "energy score of areas and components", "↓", card=True),
    Headline("coverage_galaxy_area_68", "coverage of the 68 % interval, galaxy area", "68 %", card=True),
    Headline("coverage_blended_area_68", "coverage of the 68 % interval, blended area", "68 %", card=True),
    Headline("blend_presence_brier", "Brier score of “the scene holds a blend”", "↓"),
    Headline("diversity_blended", "diversity of samples, scenes with a blend", ""),
)
