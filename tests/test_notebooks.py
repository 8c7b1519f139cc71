"""The notebooks run from the first cell to the last, as users run them, and say what their text promises."""

import os
import re
import sys
from pathlib import Path

import pytest

from blendinator.model import released

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def printed(monkeypatch):
    """`printed(name)`: what the code cells of a notebook print, cell after cell."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # for %%sh

    def run(name):
        notebook = nbformat.read(DOCS / name, as_version=4)
        done = nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
        cells = [cell for cell in done.cells if cell.cell_type == "code"]
        return ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]

    return run


@pytest.mark.skipif(released.card() is None, reason="this checkout ships no released model")
def test_the_tutorial_says_what_it_promises(printed):
    text = "".join(printed("tutorial.ipynb"))
    low, high, truth = map(int, re.search(r"68 %: (\d+) to (\d+)\); truth (\d+)", text).groups())
    assert low <= high and truth > 0
    rows = re.findall(r"magnitude (\d+) to \d+ \( *\d+\): Blendinator (\S+), SEP (\S+)", text)
    assert len(rows) == 4 and all(float(ours) >= float(theirs) for _, ours, theirs in rows[1:])
    assert "blends.vot" in text and "maps.fits" in text


def test_the_retraining_is_refused_for_the_reason_in_the_text_and_rolled_back(printed):
    _, first, _, second, why, _, third, origin, back = printed("retraining.ipynb")
    assert re.search(r"^model +pushed$", first, re.M)
    reason = r"iou_blended \(boosted\): 0(\.\d+)? is below 0\.35"
    assert re.search(rf"^model +not pushed, because {reason}", second, re.M) and re.search(reason, why)
    assert re.search(r"^model +pushed$", third, re.M) and re.search(r"^Trainer\s+unchanged, reused$", third, re.M)
    assert re.search(r"^start +warm, from version \d+$", origin, re.M) and "rule iou_blended" not in origin
    assert "live is now version" in back


@pytest.mark.parametrize("name", ["tutorial.ipynb", "retraining.ipynb"])
def test_it_is_kept_without_results(name):
    """Outputs would go stale, and hold names of somebody's folders."""
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / name, as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
