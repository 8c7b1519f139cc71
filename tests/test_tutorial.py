"""The tutorial runs from its first cell to its last, as users run it, and says what its text promises."""

import os
import re
from pathlib import Path

import pytest

from blendinator.model import released

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def executed():
    if released.card() is None:
        pytest.skip("this checkout ships no released model")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


def printed(notebook):
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if cell.cell_type == "code"
    )


def test_it_runs_and_says_what_it_promises(executed):
    text = printed(executed)
    low, high, truth = map(int, re.search(r"68 %: (\d+) to (\d+)\); truth (\d+)", text).groups())
    assert low <= high and truth > 0
    rows = re.findall(r"magnitude (\d+) to \d+ \( *\d+\): Blendinator (\S+), SEP (\S+)", text)
    assert len(rows) == 4 and all(float(ours) >= float(theirs) for _, ours, theirs in rows[1:])
    assert "blends.vot" in text and "maps.fits" in text


def test_it_is_kept_without_results():
    """Outputs would go stale, and hold names of somebody's folders."""
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
