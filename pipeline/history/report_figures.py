"""The report's figures, as SVG text.

Colours are of the Okabe-Ito set; series differ in marker and line style as well as in colour.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from blendinator.data.classes import CLASSES
from blendinator.data.records import SCALARS
from blendinator.pipeline.history.report_panels import legend, side_by_side, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values: TypeAlias = list[float | None]  # of a curve; None where there is none

# Model, the same marginals with independent pixels, live model, classical baseline.
SERIES = {
    "model": {"color": "#0072B2", "marker": "o", "linestyle": "-", "label": "this model"},
    "independent": {"color": "#777777", "marker": "s", "linestyle": ":", "label": "independent pixels"},
    "live": {"color": "#009E73", "marker": "^", "linestyle": "--", "label": "live model"},
    "classical": {"color": "#D55E00", "marker": "D", "linestyle": "-.", "label": "SEP"},
}
CLASS_COLORS = {one.name: one.line for one in CLASSES}
CLASS_LABELS = {one.name: one.label for one in CLASSES}
METRIC_LABELS = {"iou_blended": "IoU, blended", "object_f1": "F1 of blends"}  # the metrics that are shown by slice


def reliability(curves: dict) -> str:
    """Reliability diagrams of the three classes near sources, with the 95 % interval of each bin."""
    with side_by_side(3, 2.95, 3.2) as (figure, panels):
        for axes, name in zip(panels, CLASS_COLORS):
            curve = curves[f"reliability_near_sources_{name}"]
            axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1, zorder=1)
            _points(axes, _curve(curve), color=CLASS_COLORS[name], marker="o", linestyle="-")
            axes.set(title=CLASS_LABELS[name], xlabel="predicted probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.set_aspect("equal")
            share = axes.inset_axes([0.62, 0.08, 0.36, 0.2])
            share.bar(range(len(curve["count"])), curve["count"], color=CLASS_COLORS[name], alpha=0.5, width=0.9)
            share.set_yscale("log")
            share.set(xticks=[], yticks=[])
            share.set_title("pixels (log)", fontsize=7, fontweight="normal", pad=2)
            share.grid(False)
        panels[0].set_ylabel("observed frequency")
        return to_svg(figure, "reliability")


def blended_reliability(curves: dict) -> str:
    """Reliability diagram of P(blended) over all pixels, with intervals and counts."""
    with side_by_side(1, 4.4, 3.4) as (figure, panels):
        [axes] = panels
        curve = curves["reliability_blended"]
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1, zorder=1)
        _points(axes, _curve(curve), color=CLASS_COLORS["blended"], marker="o", linestyle="-")
        for probability, frequency, count in zip(curve["probability"], curve["frequency"], curve["count"]):
            if count and probability is not None:
                axes.annotate(
                    f"{count:,.0f}",
                    (probability, frequency),
                    (5, -9),
                    textcoords="offset points",
                    fontsize=6.5,
                    color="#555",
                )
        axes.set(xlabel="P(blended)", ylabel="share of pixels truly blended", xlim=(-0.02, 1.08), ylim=(-0.04, 1.04))
        return to_svg(figure, "blended-reliability")


def ranks(curves: dict) -> str:
    """Rank histograms of the areas and of the presence of a blend, for the samples and for independent pixels."""
    titles = {"galaxy_area": "galaxy area", "blended_area": "blended area", "blend_presence": "scene holds a blend"}
    with side_by_side(3, 2.95, 2.7) as (figure, panels):
        for axes, (name, title) in zip(panels, titles.items()):
            for series, suffix in (("independent", "_independent"), ("model", "")):
                curve, style = curves[f"ranks_{name}{suffix}"], SERIES[series]
                share = [value or 0 for value in curve["share"]]
                bins = len(share)
                edges = [i / bins for i in range(bins + 1)]
                axes.stairs(
                    [value * bins for value in share],
                    edges,
                    color=style["color"],
                    label=style["label"],
                    fill=series == "model",
                    alpha=0.35 if series == "model" else 1,
                    linestyle=style["linestyle"],
                )
                if series == "model":
                    axes.stairs([value * bins for value in share], edges, color=style["color"])
                    centres = [(a + b) / 2 for a, b in pairwise(edges)]
                    low, high = ([(value or 0) * bins for value in curve[end]] for end in ("low", "high"))
                    axes.vlines(centres, low, high, color=style["color"], linewidth=0.9)
            axes.axhline(1, color="#333", linewidth=0.8)
            axes.set(title=title, xlabel="rank of the truth", xlim=(0, 1))
            axes.set_ylim(0, min(axes.get_ylim()[1], 5))
        panels[0].set_ylabel("relative frequency")
        legend(figure, panels[0])
        return to_svg(figure, "ranks")


def coverage(metrics: dict) -> str:
    """Coverage of the central intervals against their nominal probability."""
    levels = (50, 68, 95)
    with side_by_side(2, 2.3, 2.5) as (figure, panels):
        for axes, (name, title) in zip(panels, {"galaxy_area": "galaxy area", "blended_area": "blended area"}.items()):
            axes.plot([0, 100], [0, 100], color="#bbb", linewidth=1)
            for shift, (series, suffix) in zip((0.8, -0.8), (("independent", "_independent"), ("model", ""))):
                found = [metrics[f"coverage_{name}_{level}{suffix}"] for level in levels]
                if any(one["value"] is None for one in found):
                    continue
                percent = [[100 * one[key] for one in found] for key in ("value", "low", "high")]
                _points(axes, ([level + shift for level in levels], *percent), **SERIES[series])
            axes.set(title=title, xlabel="nominal (%)", xlim=(40, 100), ylim=(0, 103), xticks=levels)
        panels[0].set_ylabel("truths inside (%)")
        legend(figure, panels[-1])
        return to_svg(figure, "coverage")


def completeness_purity(curves: dict, classical: dict | None) -> str:
    """Completeness against purity of recognised blends, over the threshold on the mean P(blended)."""
    curve = curves["objects"]
    with side_by_side(1, 3.5, 2.9) as (figure, panels):
        axes = panels[0]
        style = SERIES["model"]
        kept = [i for i in range(len(curve["threshold"])) if None not in (curve["purity"][i], curve["completeness"][i])]
        x, y = ([100 * curve[name][i] for i in kept] for name in ("completeness", "purity"))
        axes.plot(x, y, color=style["color"], marker=style["marker"], label=style["label"])
        for i, a, b in zip(kept, x, y):
            ends = [curve[f"{name}_{end}"][i] for name in ("completeness", "purity") for end in ("low", "high")]
            if None not in ends:
                axes.hlines(b, 100 * ends[0], 100 * ends[1], color=style["color"], linewidth=0.7, alpha=0.6)
                axes.vlines(a, 100 * ends[2], 100 * ends[3], color=style["color"], linewidth=0.7, alpha=0.6)
            if curve["threshold"][i] in (0.1, 0.3, 0.5, 0.7, 0.9):
                axes.annotate(
                    f"{curve['threshold'][i]:g}",
                    (a, b),
                    textcoords="offset points",
                    xytext=(6, 5),
                    fontsize=7.5,
                    color="#444",
                )
        if classical:
            point = [classical[name]["value"] for name in ("object_completeness", "object_purity")]
            if None not in point:
                baseline = SERIES["classical"]
                axes.plot(
                    100 * point[0],
                    100 * point[1],
                    baseline["marker"],
                    color=baseline["color"],
                    markersize=7,
                    label=baseline["label"],
                )
        axes.set(
            title="recognised blends", xlabel="completeness (%)", ylabel="purity (%)", xlim=(0, 102), ylim=(0, 102)
        )
        legend(figure, axes)
        return to_svg(figure, "objects")


def by_slice(slices: dict[str, dict], scalar: str, metric: str) -> str:
    """A metric by the bins of a scalar, for each method in `slices` (series name to the population's `slices`)."""
    with side_by_side(1, 3.5, 2.5) as (figure, panels):
        axes, labels = panels[0], []
        names = [name for name in SERIES if name in slices and scalar in slices[name]]
        for number, name in enumerate(names):
            bins, style = slices[name][scalar], SERIES[name]
            labels = [f"{_edge(one['low'])}–{_edge(one['high'])}\nn={one['scenes']}" for one in bins]
            found = [one["metrics"].get(metric, {}) for one in bins]
            x = [i + 0.12 * (number - (len(names) - 1) / 2) for i in range(len(bins))]
            values, low, high = ([one.get(key) for one in found] for key in ("value", "low", "high"))
            _points(axes, (x, values, low, high), **style)
        axes.set_xticks(range(len(labels)), labels, fontsize=8)
        axes.set(title=SCALARS[scalar].label, ylabel=METRIC_LABELS[metric], xlim=(-0.5, len(labels) - 0.5))
        axes.set_ylim(bottom=0)
        legend(figure, axes)
        return to_svg(figure, f"slice-{scalar}-{metric}")


def training(history: list[dict]) -> str:
    """Held-out losses and what the latent does, over the steps."""
    steps = [row["step"] for row in history]
    with side_by_side(3, 2.95, 2.5) as (figure, panels):
        lines = (
            ("prior_nll", "prior", "#0072B2", "o"),
            ("reconstruction", "posterior", "#D55E00", "s"),
            ("pixel_nll", "pixels apart", "#777777", "^"),
        )
        for key, label, color, marker in lines:
            if all(key in row for row in history):
                panels[0].plot(steps, [row[key] for row in history], color=color, marker=marker, label=label)
        panels[0].set(title="held-out NLL", ylabel="nats per image")
        panels[0].legend(fontsize=8)
        panels[1].plot(steps, [sum(row["kl_per_dimension"]) for row in history], color="#009E73", marker="o")
        panels[1].set(title="KL of the latent", ylabel="nats per image", ylim=(0, None))
        panels[2].plot(steps, [row["diversity"] for row in history], color="#CC79A7", marker="o")
        panels[2].set(title="diversity of the samples", ylim=(0, None))
        for axes in panels:
            axes.set_xlabel("step")
        return to_svg(figure, "training")


def risk_coverage(curves: dict) -> str:
    """Error rate among the pixels that remain when the most uncertain ones are set aside first."""
    with side_by_side(1, 3.5, 2.5) as (figure, panels):
        curve = curves["risk_coverage_near_sources"]
        pairs = [(a, b) for a, b in zip(curve["coverage"], curve["risk"]) if a is not None and b is not None]
        panels[0].plot([100 * a for a, _ in pairs], [100 * b for _, b in pairs], color=SERIES["model"]["color"])
        panels[0].set(
            title="near sources",
            xlabel="pixels that remain (%)",
            ylabel="wrong among them (%)",
            xlim=(0, 100),
            ylim=(0, None),
        )
        return to_svg(figure, "risk")


def _curve(curve: dict) -> tuple[Values, ...]:
    """The points of a reliability curve, as `_points` takes them."""
    return tuple(curve[key] for key in ("probability", "frequency", "low", "high"))


def _points(axes: "Axes", points: tuple, color: str, marker: str, linestyle: str, label: str | None = None) -> None:
    """Plots values at x with their intervals; `points` holds lists of x, y, low and high."""
    x, y, low, high = points
    kept = [i for i, value in enumerate(y) if value is not None and x[i] is not None]
    axes.plot(
        [x[i] for i in kept],
        [y[i] for i in kept],
        color=color,
        marker=marker,
        linestyle=linestyle,
        label=label,
        linewidth=1.4,
    )
    ends = [(x[i], low[i], high[i]) for i in kept if low[i] is not None and high[i] is not None]
    if ends:
        axes.vlines(*zip(*ends), color=color, linewidth=1.1, alpha=0.8)


def _edge(value: float) -> str:
    return f"{value:g}" if value < 1e5 else "∞"
