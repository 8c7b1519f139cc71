"""`blendinator segment`: one field, from the file to maps, catalogue and picture."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.errors import ConfigError
from blendinator.files import write_errors
from blendinator.model.client import Segmenter
from blendinator.model.field import calibrated, catalogue, columns, cutouts, provenance, truth, units, writing
from blendinator.model.field.outputs import Outputs, Together, compress, ending
from blendinator.model.field.plane import split_hdu
from blendinator.model.field.preview import Previewer
from blendinator.model.field.reading import Field, open_field
from blendinator.model.field.regions import to_regions
from blendinator.model.field.segment import Report, segment
from blendinator.model.field.spool import Spool
from blendinator.model.field.tables import write_table
from blendinator.model.field.wcs import output_header


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
      report: of the segmentation.
      rows: of the catalogue, by kind.
      comparison: with the truth, or None.
      warnings: what the user should know.
      sky_sigma: measured sky noise, electrons per pixel; noise_ratio: over that of the training, if it is known.
      pixel_scale: arcsec, of the image's WCS, if it has one. shape: H, W of the image.
      wcs: its cards, one per line, without lookup tables.
    """

    report: Report
    rows: dict[str, int]
    comparison: dict | None
    warnings: list[str]
    sky_sigma: float | None = None
    noise_ratio: float | None = None
    pixel_scale: float | None = None
    shape: tuple[int, int] = (0, 0)
    wcs: str = ""


def run(
    segmenter: Segmenter,
    path: str | Path,
    outputs: Outputs,
    *,
    num_samples: int = 16,
    seed: int = 1,
    settings: catalogue.Settings = catalogue.Settings(),
    truth_path: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
    opened: Callable[[Field], None] | None = None,
    command: str = "",
    **options: Any,
) -> Result:
    """Segments a field; either every output is written, or none is.

    Args:
      segmenter: the model.
      path: the field; "-" is standard input.
      outputs: what to write.
      num_samples: see `Segmenter.sample`.
      seed: likewise.
      settings: of the catalogue.
      truth_path: a table of true galaxies to compare the catalogue with.
      progress: see `segment.segment`.
      command: what the results say of how they were made, in the first line of their HISTORY.
      opened: called with the `reading.Field` before the work starts.
      **options: of `reading.open_field`.

    Raises:
      DataError, ConfigError: with the file and the remedy.
    """
    if truth_path is not None and outputs.catalogue is None:
        raise ConfigError("`truth`: it is compared with a catalogue. Give `catalogue` as well.")
    path, options["hdu"] = split_hdu(path, options.get("hdu"))
    for name in ("weight", "mask"):
        if options.get(name) is not None:
            options[name], options[f"{name}_hdu"] = split_hdu(options[name], options.get(f"{name}_hdu"), f"{name}_hdu")
    given = {"field": path, "truth": truth_path, **{name: options.get(name) for name in ("weight", "mask")}}
    outputs.check(given.values())
    with Spool() as spool:
        files = {name: spool.readable(one) for name, one in given.items()}
        options |= {name: files[name] for name in ("weight", "mask")}
        field = open_field(files["field"] or path, segmenter.survey, segmenter.facts["stamp_size"], **options)
        for plane in (field.image, field.weight, field.mask):
            if plane is not None:
                plane.name = spool.named(plane.name)
        with contextlib.closing(field), Together() as together:
            return _run(
                segmenter,
                field,
                outputs,
                together,
                num_samples,
                seed,
                settings,
                files["truth"],
                progress,
                opened,
                command,
            )


def _run(
    segmenter: Segmenter,
    field: Field,
    outputs: Outputs,
    together: Together,
    num_samples: int,
    seed: int,
    settings: catalogue.Settings,
    truth_path: Path | None,
    progress: Callable[[int], None] | None,
    opened: Callable[[Field], None] | None,
    command: str,
) -> Result:
    true = truth.read_truth(truth_path, field.wcs, field.shape) if truth_path is not None else None
    cards, history = provenance.cards(segmenter, field, num_samples, seed), provenance.history(field, command)
    writer = None
    if outputs.maps is not None:
        writer = writing.MapWriter(
            outputs.maps,
            together.part(outputs.maps),
            field.shape,
            num_samples if outputs.samples else 0,
            output_header(field.image.header, field.image.axes),
            cards,
            history,
            labels=outputs.needs_catalogue,
        )
    cataloguer = None
    if outputs.needs_catalogue:
        cataloguer = catalogue.Cataloguer(
            field.shape,
            num_samples,
            settings,
            field.sigma_rows,
            None if true is None else true[0],
            writer.write_labels if writer is not None else None,
        )
    previewer = Previewer(field.shape) if outputs.preview else None
    if opened:
        opened(field)
    rows, comparison, found, owners = {}, None, None, None
    with writer or contextlib.nullcontext():
        sinks = [sink for sink in (writer and _MapSink(writer), cataloguer, previewer) if sink is not None]
        report = segment(segmenter, field, sinks, num_samples, seed, progress)
        if cataloguer is not None:
            found, owners = cataloguer.finish()
            if writer is not None:
                writer.renumber(cataloguer.ids)
    if found is not None:
        rows = {kind: int((found["kind"] == kind).sum()) for kind in catalogue.KINDS}
        if true is not None and owners is not None:
            scale = (field.wcs.pixel_scale if field.wcs else None) or (segmenter.survey or {}).get("pixel_scale", 1.0)
            comparison = truth.compare(found, owners, *true, field.shape, scale)
        meta = {**_settings(cards, history, settings), **({"truth": comparison} if comparison else {})}
        _write_objects(segmenter, field, found, outputs, together, meta, num_samples, seed)
    if previewer is not None and outputs.preview is not None:
        with write_errors(outputs.preview):
            previewer.save(
                together.part(outputs.preview), field.sky_sigma, Path(field.image.name).name, ending(outputs.preview)
            )
    if writer is not None and outputs.maps is not None and outputs.maps.suffix.lower() == ".gz":
        with write_errors(outputs.maps):
            compress(writer.part)
    training = field.training_sigma if field.conversion.calibrated else None
    return Result(
        report,
        rows,
        comparison,
        list(field.warnings),
        field.sky_sigma,
        field.sky_sigma / training if training else None,
        field.wcs.pixel_scale if field.wcs else None,
        field.shape,
        output_header(field.image.header, field.image.axes).tostring(sep="\n") if field.wcs else "",
    )


def _settings(cards: list[tuple], history: list[str], settings: catalogue.Settings) -> dict:
    return {
        **{keyword: value for keyword, value, _ in cards},
        "HISTORY": history,
        "threshold": settings.threshold,
        "min_pixels": settings.min_pixels,
        "reach": settings.reach,
    }


def _write_objects(
    segmenter: Segmenter,
    field: Field,
    found: dict[str, np.ndarray],
    outputs: Outputs,
    together: Together,
    meta: dict,
    num_samples: int,
    seed: int,
) -> None:
    """What is made from the catalogue: the table, the regions, the page of cutouts."""
    if outputs.catalogue is not None:
        known_units, measures = field.conversion.calibrated, calibrated.load()
        if measures is not None and (segmenter.survey or {}).get("name") != measures["survey"]:
            measures = None
        if measures is not None:
            meta["measures"] = (
                f"total_flux, shapes and sources: fitted on {measures['survey']} with {measures['model']}"
            )
        survey = None if field.conversion.counted else segmenter.survey
        magnitude = units.electron_magnitude(survey) if survey else None
        table = columns.to_table(
            calibrated.calibrate(found, measures, field.conversion.counted),
            wcs=field.wcs,
            poisson=field.conversion.counted,
            electron_magnitude=magnitude if known_units else None,
            flux_unit="electron" if known_units else "",
            meta=meta,
        )
        with write_errors(outputs.catalogue):
            write_table(table, together.part(outputs.catalogue), ending(outputs.catalogue))
    if outputs.regions is not None:
        with write_errors(outputs.regions):
            together.part(outputs.regions).write_text(to_regions(found), encoding="utf-8")
    if outputs.cutouts is not None:
        with write_errors(outputs.cutouts):
            cutouts.save(together.part(outputs.cutouts), segmenter, field, found, num_samples, seed)


class _MapSink:
    def __init__(self, writer: writing.MapWriter) -> None:
        self._writer = writer

    def write(self, top: int, maps: dict[str, np.ndarray]) -> None:
        self._writer.write(top, writing.planes_of(maps))
