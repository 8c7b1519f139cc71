"""Catalogues: three formats with hand-computed rows, what is skipped, and each message."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.units import Unit

from blendinator.config import PopulationConfig, SimulationConfig, StarConfig
from blendinator.data.catalog import read_catalog
from blendinator.data.scene import Simulator, population_of
from blendinator.errors import DataError

COSMOS_FILE = Path(__file__).parents[3] / "shared" / "catalogs" / "cosmos_sersic_100.fits"


def table(**changed):
    columns = {
        "mag": [20.0, 21.0, 22.5],
        "half_light_radius": [1.0, 0.5, 0.4],
        "sersic_index": [1.0, 2.04, 4.0],
        "axis_ratio": [1.0, 0.5, 0.25],
    }
    return Table({name: values for name, values in {**columns, **changed}.items() if values is not None})


def catsim(**changed):
    columns = {
        "i_ab": [21.0, 22.0, 23.0],
        "a_b": [0.2, 0.0, 0.0],
        "b_b": [0.2, 0.0, 0.0],
        "a_d": [0.8, 0.5, 0.0],
        "b_d": [0.2, 0.5, 0.0],
        "pa_bulge": [0.0, 0.0, 0.0],
        "pa_disk": [90.0, 0.0, 0.0],
        "fluxnorm_bulge": [1.0, 0.0, 0.0],
        "fluxnorm_disk": [3.0, 2.0, 0.0],
        "fluxnorm_agn": [0.0, 0.0, 1.0],
    }
    return Table({name: values for name, values in {**columns, **changed}.items() if values is not None})


def cosmos(**changed):
    single = np.zeros((3, 8))
    single[:, 2], single[:, 3], single[:, 7] = (1.5, 0.2, 2.0), 0.5, 0.3
    double = np.zeros((3, 16))
    double[0, [3, 7, 11, 15]] = 0.4, 0.1, 0.9, 0.2
    columns = {
        "mag_auto": [20.0, 21.0, 22.0],
        "sersicfit": single,
        "bulgefit": double,
        "use_bulgefit": [1, 0, 0],
        "viable_sersic": [1, 1, 0],
        "hlr": [[0.5, 0.2, 0.6]] * 3,
        "flux": [[9.0, 1.0, 3.0]] * 3,
    }
    return Table({name: values for name, values in {**columns, **changed}.items() if values is not None})


def written(tmp_path, content, name="catalog.fits"):
    path = tmp_path / name
    content.write(path)
    return str(path)


@pytest.mark.parametrize("name", ["catalog.csv", "catalog.ecsv", "catalog.fits"])
def test_a_table(tmp_path, name):
    catalog = read_catalog(written(tmp_path, table(), name))
    assert catalog.format == "table" and catalog.provenance["skipped"] == {} and catalog.provenance["rows"] == 3
    np.testing.assert_array_equal(catalog.galaxies.magnitude, [20.0, 21.0, 22.5])
    np.testing.assert_allclose(catalog.galaxies.sersic_index[:, 0], [1.0, 2.0, 4.0])  # rounded to 0.1
    np.testing.assert_array_equal(catalog.galaxies.axis_ratio[:, 0], [1.0, 0.5, 0.25])
    np.testing.assert_array_equal(catalog.galaxies.flux_fraction, [[1.0, 0.0]] * 3)


def test_catsim(tmp_path):
    catalog = read_catalog(written(tmp_path, catsim()))
    assert catalog.format == "catsim" and catalog.provenance["skipped"] == {"neither bulge nor disk": 1}
    np.testing.assert_allclose(catalog.galaxies.flux_fraction, [[0.75, 0.25], [1.0, 0.0]])
    np.testing.assert_allclose(catalog.galaxies.radius[0], [0.4, 0.2])  # sqrt(0.8 * 0.2)
    np.testing.assert_allclose(catalog.galaxies.axis_ratio[0], [0.25, 1.0])
    np.testing.assert_allclose(catalog.galaxies.angle[0], [np.pi / 2, 0.0])


def test_cosmos(tmp_path):
    catalog = read_catalog(written(tmp_path, cosmos()))
    assert catalog.format == "cosmos" and catalog.provenance["skipped"] == {"no usable fit": 1}
    np.testing.assert_allclose(catalog.galaxies.flux_fraction, [[0.75, 0.25], [1.0, 0.0]])
    np.testing.assert_allclose(catalog.galaxies.radius[0], [0.6, 0.2])
    np.testing.assert_allclose(catalog.galaxies.radius[1, 0], 0.5)
    np.testing.assert_allclose(catalog.galaxies.axis_ratio[0], [0.4, 0.9])
    np.testing.assert_allclose(catalog.galaxies.sersic_index[1, 0], 0.3)  # a fit at 0.2: the lowest that can be drawn


def cosmos_path(tmp_path):
    """The real catalogue where it lies beside the project, else a small one of the same format."""
    return str(COSMOS_FILE) if COSMOS_FILE.exists() else written(tmp_path, cosmos())


def test_a_catalogue_is_simulated(tmp_path):
    config = SimulationConfig(
        stamp_size=32, population=PopulationConfig(density_scale=30.0), stars=StarConfig(density_scale=0.0)
    )
    catalog = read_catalog(cosmos_path(tmp_path))
    simulator = Simulator(config, catalog)
    scenes = simulator.scenes(1, range(12))
    assert max(scene["num_galaxies"] for scene in scenes) >= 2
    assert {scene["population"] for scene in scenes} == {"boosted", "natural", "bright"}
    numbers = [number for number in range(100) if population_of(config, number) == "natural"]
    natural = [m for number in numbers for m in simulator.sample(2, number).sources.magnitude]
    assert set(natural) <= set(catalog.galaxies.magnitude)
    np.testing.assert_array_equal(simulator.scenes(1, [3])[0]["image"], scenes[3]["image"])


def test_draw_like_gives_the_magnitude_that_is_asked_for(tmp_path):
    catalog = read_catalog(written(tmp_path, table()))
    drawn = catalog.sample_like(np.random.default_rng(1), np.array([19.0, 24.0]))
    np.testing.assert_array_equal(drawn.magnitude, [19.0, 24.0])
    assert set(drawn.radius[:, 0]) <= {1.0, 0.5, 0.4}


def test_rows_with_an_index_that_cannot_be_drawn_are_counted(tmp_path):
    catalog = read_catalog(written(tmp_path, table(sersic_index=[1.0, 8.0, 0.1])))
    assert catalog.provenance["skipped"] == {"Sersic index outside 0.3 to 6.2": 2} and len(catalog.galaxies) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            table(axis_ratio=None),
            "the column 'axis_ratio' is missing; a catalogue of the format 'table' needs magnitude",
        ),
        (table(axis_ratio=[1.0, 0.5, 1.5]), "column 'axis_ratio', row 2: received 1.5; allowed: above 0, at most 1"),
        (
            table(half_light_radius=[1.0, -0.5, 0.0]),
            r"column 'half_light_radius', row 1: received -0.5; allowed: above 0 arcsec \(2 such",
        ),
        (table(sersic_index=[0.0, 1.0, 1.0]), "column 'sersic_index', row 0: received 0; allowed: above 0"),
        (table(mag=[20.0, np.nan, 21.0]), "column 'mag', row 1: received nan; allowed: a finite number"),
        (table(mag=["a", "b", "c"]), "column 'mag' does not hold numbers"),
        (table(mag=np.zeros((3, 2))), r"column 'mag' has shape \[3, 2\]; allowed: one number per row"),
        (catsim(a_b=np.zeros((3, 2))), r"column 'a_b' has shape \[3, 2\]; allowed: one number per row"),
        (table(sersic_index=[8.0, 9.0, 9.0]), "no usable row is left; skipped: {'Sersic index outside 0.3 to 6.2': 3}"),
        (catsim(pa_disk=None), "the column 'pa_disk' is missing; a catalogue of the format 'catsim'"),
        (
            catsim(a_d=[0.8, 0.0, 0.0], b_d=[0.2, 0.0, 0.0]),
            "column 'a_d', row 1: received 0; allowed: above 0 arcsec where",
        ),
        (catsim(b_d=[0.9, 0.5, 0.0]), "column 'b_d', row 0: received 0.9; allowed: at most a_d"),
        (catsim(fluxnorm_disk=[-1.0, 2.0, 0.0]), "column 'fluxnorm_disk', row 0: received -1; allowed: 0 or more"),
        (cosmos(hlr=None), "the column 'hlr' is missing; a catalogue of the format 'cosmos'"),
        (cosmos(hlr=[0.5, 0.5, 0.5]), r"column 'hlr' has shape \[3\]; allowed: \[rows, 3\]"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(DataError, match="catalog.fits: " + message):
        read_catalog(written(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "broken.fits").write_text("nonsense")
    for name in ("broken.fits", "absent.csv"):
        with pytest.raises(
            DataError, match=f"{name}: the catalogue cannot be read .* Give an existing FITS, CSV or ECSV file"
        ):
            read_catalog(str(tmp_path / name))


def test_an_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="x.txt: catalogues with the ending '.txt' are not known; allowed: .csv"):
        read_catalog(str(tmp_path / "x.txt"))


def test_no_row_within_the_limits(tmp_path):
    catalog = read_catalog(written(tmp_path, table()))
    with pytest.raises(
        DataError,
        match=r"no row has a magnitude between 25.0 and 27.0 \(there: 20.00 to 22.50\). Change simulation.pop",
    ):
        catalog.limits(PopulationConfig(magnitude_bright=25.0))


@pytest.mark.parametrize("name", ["c.ecsv", "c.fits", "c.vot"])
@pytest.mark.parametrize(
    ("unit", "factor"), [("arcsec", 1), ("arcmin", 60), ("deg", 3600), ("rad", 206264.806), ("pix", 0.2), (None, 1)]
)
@pytest.mark.filterwarnings("ignore")
def test_units_are_converted(tmp_path, name, unit, factor):
    content = table()
    content["half_light_radius"] = np.array([1.0, 0.5, 0.4]) / factor
    content["half_light_radius"].unit, content["mag"].unit = unit, "mag"
    content.write(tmp_path / name, format="votable" if name.endswith("vot") else None)
    radius = read_catalog(str(tmp_path / name), pixel_scale=0.2).galaxies.radius[:, 0]
    np.testing.assert_allclose(radius, [1.0, 0.5, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "unit", "message"),
    [
        ("half_light_radius", "kpc", "column 'half_light_radius' is in 'kpc'; allowed: a unit that converts to arcsec"),
        ("half_light_radius", "furlong", "column 'half_light_radius' is in 'furlong'; allowed"),
        ("mag", "nJy", r"column 'mag' is in 'nJy'; allowed: mag or mag\(AB\)"),
        ("axis_ratio", "arcsec", "column 'axis_ratio' is in 'arcsec'; allowed: no unit"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_units_that_cannot_be_converted(tmp_path, column, unit, message):
    content = table()
    content[column].unit = Unit(unit, parse_strict="silent")
    with pytest.raises(DataError, match=message):
        read_catalog(written(tmp_path, content, "c.ecsv"))


def test_pixels_without_a_scale(tmp_path):
    content = table()
    content["half_light_radius"].unit = "pix"
    with pytest.raises(DataError, match="column 'half_light_radius' is in 'pix'"):
        read_catalog(written(tmp_path, content, "c.ecsv"))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_byte_order_mark(tmp_path, ends):
    text = f"magnitude,hlr,n,q{ends}20,0.5,1,0.5{ends}"
    for name, content in (("c.csv", text.encode("utf-8-sig")), ("c.csv.gz", gzip.compress(text.encode("utf-8-sig")))):
        (tmp_path / name).write_bytes(content)
        assert read_catalog(str(tmp_path / name)).galaxies.magnitude.tolist() == [20.0]
    (tmp_path / "c.csv").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="its text is not UTF-8. Save it as UTF-8"):
        read_catalog(str(tmp_path / "c.csv"))


@pytest.mark.parametrize("second", ["magnitude", "MAG"])
def test_two_columns_that_mean_the_same(tmp_path, second):
    content = table()
    content[second] = [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match=f"the columns 'mag' and '{second}' both mean magnitude. Remove or rename one"):
        read_catalog(written(tmp_path, content, "c.ecsv"))
