"""Draws docs/images/architecture.svg: the components, what passes between them and where their code is.

python scripts/architecture_figure.py
"""

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FIGURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "architecture.svg"

WIDTH, HEIGHT = 250, 78  # of a box
ACROSS, DOWN = 310, 122  # from box to box
LEFT, TOP = 20, 20
OURS, TFX, STORED = "#d6e8f7", "#ececec", "#fbeecb"
LINE, TEXT, QUIET = "#4a5568", "#1a202c", "#4a5568"


class Box(NamedTuple):
    """One step or store: its place on the grid, colour, name, what it does and where its code is."""

    column: int
    row: int
    color: str
    name: str
    what: str
    code: str

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the box; 0 to 1 from left to right and from top to bottom."""
        return LEFT + self.column * ACROSS + x * WIDTH, TOP + self.row * DOWN + y * HEIGHT


BOXES = {
    box.name: box
    for box in (
        Box(0, 0, STORED, "simulate", "spans: TFRecords and a manifest", "data/"),
        Box(1, 0, OURS, "SpanExampleGen", "checksums and counts verified", "components/span_example_gen"),
        Box(2, 0, TFX, "StatisticsGen", "scalars and pixels", "TFDV"),
        Box(0, 1, OURS, "SceneSchema", "what a record must look like", "schemas/scene.pbtxt"),
        Box(1, 1, OURS, "AnomalyGate", "stops and names the record at fault", "components/anomaly_gate"),
        Box(2, 1, TFX, "ExampleValidator", "statistics against the schema", "TFDV"),
        Box(0, 2, OURS, "LiveModel", "the version to compare with", "components/live_model"),
        Box(1, 2, OURS, "DriftGate", "stops where the data changed", "components/drift_gate"),
        Box(2, 2, TFX, "Transform", "asinh(image / sky sigma)", "model/preprocessing.py"),
        Box(1, 3, OURS, "CalibrationEvaluator", "samples, metrics, rules", "model/metrics/"),
        Box(2, 3, TFX, "Trainer", "ProbaUNet, calibrated, exported", "model/trainer.py"),
        Box(0, 4, STORED, "serving", "numbered SavedModels", "output/serving/blendinator"),
        Box(1, 4, OURS, "Pusher", "only with both blessings", "components/atomic_pusher"),
        Box(2, 4, OURS, "ExportCheck", "every signature, in a fresh process", "components/export_check"),
    )
}
# From, its side, to, its side, label.
ARROWS = (
    ("simulate", "right", "SpanExampleGen", "left", ""),
    ("SpanExampleGen", "right", "StatisticsGen", "left", "examples"),
    ("SpanExampleGen", "bottom", "AnomalyGate", "top", "examples"),
    ("StatisticsGen", "bottom", "ExampleValidator", "top", "statistics"),
    ("ExampleValidator", "left", "AnomalyGate", "right", "anomalies"),
    ("SceneSchema", "right", "AnomalyGate", "left", "schema"),
    ("AnomalyGate", "bottom", "DriftGate", "top", "checked examples, from here on"),
    ("LiveModel", "right", "DriftGate", "left", ""),
    ("LiveModel", "corner", "CalibrationEvaluator", "edge", ""),
    ("DriftGate", "right", "Transform", "left", "go on"),
    ("Transform", "bottom", "Trainer", "top", "transform graph"),
    ("Trainer", "left", "CalibrationEvaluator", "right", "model"),
    ("Trainer", "bottom", "ExportCheck", "top", "model"),
    ("CalibrationEvaluator", "bottom", "Pusher", "top", "blessing"),
    ("ExportCheck", "left", "Pusher", "right", "blessing"),
    ("Pusher", "left", "serving", "right", "version"),
    ("serving", "top", "LiveModel", "bottom", "next run"),
)
SIDES = {
    "left": (0, 0.5),
    "right": (1, 0.5),
    "top": (0.5, 0),
    "bottom": (0.5, 1),
    "corner": (1, 0.85),
    "edge": (0, 0.2),
}


def draw() -> str:
    """The figure as SVG."""
    width, height = 2 * LEFT + 2 * ACROSS + WIDTH, TOP + 5 * DOWN + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif" role="img">',
        "<title>The components of the pipeline and what passes between them</title>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(part for arrow in ARROWS for part in _arrow(*arrow)),
        *(part for box in BOXES.values() for part in _box(box)),
        *_legend(TOP + 5 * DOWN),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(box):
    x, y = box.at(0, 0)
    yield f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{box.color}" stroke="{LINE}"/>'
    middle = x + WIDTH / 2
    yield _text(middle, y + 24, box.name, 16, TEXT, 'font-weight="bold"')
    yield _text(middle, y + 44, box.what, 13, TEXT)
    yield _text(middle, y + 64, box.code, 12, QUIET, 'font-family="Menlo, Consolas, monospace"')


def _arrow(start, leaves, end, enters, label):
    (x1, y1), (x2, y2) = BOXES[start].at(*SIDES[leaves]), BOXES[end].at(*SIDES[enters])
    yield f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'
    if label and x1 == x2:
        yield _text(x1 + 8, (y1 + y2) / 2 + 4, label, 12, QUIET, anchor="start")
    elif label:
        yield _text((x1 + x2) / 2, y1 - 7, label, 12, QUIET)


def _legend(y):
    yield _text(
        LEFT,
        y + 8,
        "Besides: the schema goes to ExampleValidator, Transform and Trainer, the live model to"
        " the Trainer. ML Metadata records every step.",
        13,
        QUIET,
        anchor="start",
    )
    for i, (color, label) in enumerate(((OURS, "ours"), (TFX, "TFX's"), (STORED, "on the disk"))):
        x = LEFT + 110 * i
        yield f'<rect x="{x}" y="{y + 21}" width="18" height="13" fill="{color}" stroke="{LINE}"/>'
        yield _text(x + 25, y + 32, label, 13, QUIET, anchor="start")


def _text(x, y, text, size, color, more="", anchor="middle"):
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}"'
        f"{' ' + more if more else ''}>{escape(text)}</text>"
    )


if __name__ == "__main__":
    FIGURE.write_text(draw(), encoding="utf-8")
    print(FIGURE)
