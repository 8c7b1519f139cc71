"""The page of uncertain blends: which it shows, and that its maps are those of the field."""

import numpy as np
import pytest

from blendinator.model.field import run as runs
from blendinator.model.field.cutouts import most_uncertain, window
from blendinator.model.field.reading import open_field

PNG = b"\x89PNG"


def test_the_most_uncertain_come_first():
    columns = {
        "kind": np.array(["object", "object", "blend", "object", "object", "object"]),
        "p_blend": np.array([0.0, 0.9, 0.5, 0.4, 0.6, 1.0]),
        "flux": np.array([9.0, 9.0, 9.0, 1.0, 2.0, 9.0]),
    }
    assert most_uncertain(columns).tolist() == [4, 3, 1] and most_uncertain(columns, 1).tolist() == [4]


@pytest.mark.parametrize("x, y", [(40.0, 30.0), (0.0, 60.0), (82.0, 0.0)])
def test_a_window_is_a_part_of_the_field(segmenter, field_file, image, x, y):
    field = open_field(field_file, segmenter.survey, segmenter.facts["stamp_size"], box=32)
    whole = segmenter.sample(field.network_rows(0, 61), 3, seed=1)
    top, left, part, maps = window(segmenter, field, x, y, 24, 3, 1)
    rows, columns = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
    assert rows.start <= y < rows.stop and columns.start <= x < columns.stop
    np.testing.assert_allclose(maps["probabilities"], whole.probabilities[rows, columns], atol=1e-5)
    assert np.mean(maps["samples"] != whole.samples[:, rows, columns]) < 1e-3
    np.testing.assert_allclose(part, field.rows(0, 61)[rows, columns])


def test_regions_and_cutouts_without_a_catalogue(segmenter, field_file, tmp_path):
    outputs = runs.Outputs(regions=tmp_path / "o.reg", cutouts=tmp_path / "c.png")
    result = runs.run(segmenter, field_file, outputs, num_samples=3, box=32)
    assert {path.name for path in tmp_path.iterdir()} == {"field.fits", "o.reg", "c.png"}
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    assert (tmp_path / "o.reg").read_text().count("ellipse") == sum(result.rows.values())
