"""The job array of docs/survey.md, without Slurm: what it would run, in the environment that it would set."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from blendinator.model import released

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(tmp_path):
    """The page's script, a `blendinator` of this checkout, and a `srun` that runs its command here."""
    page = (ROOT / "docs" / "survey.md").read_text(encoding="utf-8")
    (tmp_path / "segment.slurm").write_text(re.findall(r"```bash\n(#!.*?)```", page, re.DOTALL)[0])
    commands = {
        "srun": '#!/bin/bash\nexec "$@"\n',
        "blendinator": f'#!/bin/bash\nexec {sys.executable} -m blendinator.pipeline.cli "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path / "segment.slurm"


@pytest.mark.skipif(released.card() is None, reason="this checkout ships no released model")
def test_the_job_array(script, tmp_path):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(1)
    for i in range(3):
        fits.writeto(tmp_path / f"tile-{i}.fits", rng.normal(0, 26.3, (128, 128)), fits.Header({"BUNIT": "electron"}))
    (tmp_path / "tiles.txt").write_text("".join(f"tile-{i}.fits\n" for i in range(3)))
    header = script.read_text()
    assert "#SBATCH --array=1-" in header  # from 1, as --shard counts
    for task in ("1", "2"):
        process = subprocess.run(
            ["bash", script.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "SLURM_ARRAY_TASK_ID": task,
                "SLURM_ARRAY_TASK_COUNT": "2",
                "SLURM_CPUS_PER_TASK": "1",
            },
        )
        assert process.returncode == 0, process.stderr
    summary = Table.read(tmp_path / "results" / "summary.ecsv")
    assert list(summary["name"]) == ["tile-0", "tile-1", "tile-2"] and set(summary["state"]) == {"done"}
    assert len(list((tmp_path / "results").glob("*.objects.parquet"))) == 3
