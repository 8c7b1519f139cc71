"""Bias, coverage and reliability of a catalogue's calibrated columns as Markdown, for `measures.py`."""

from itertools import pairwise

import numpy as np

from blendinator.model.field import calibrated, sources

MAGNITUDES = (18, 22, 23, 24, 25, 26, 27)
SEPARATIONS = (0.0, 0.3, 0.6, 0.9, 1.5, 9.9)  # arcsec, of the two brightest sources of an object
P_ONE = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 1.0)
BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)
FEWEST = 10  # objects of a row
BASELINES = {"sep": "FLUX_AUTO of SEP", "photutils": "Kron flux of photutils"}
HEAD = "\n| {} | objects | median error | 68 % half-width | in 68 % | in 95 % |\n|---|---|---|---|---|---|"


def check(rows, table):
    """Prints everything.

    Args:
      rows: of `measures.read`. table: of `calibrated.load`.
    """
    found = calibrated.calibrate(rows, table)
    found.update({name: rows[name] for name in rows if name.startswith("blended_flux_fraction")})
    groups = groups_of(rows, found)
    for name in (*calibrated.QUANTITIES, "blendedness", "blended_flux_fraction"):
        if name in found:
            truth = rows["true_total" if name == "total_flux" else f"true_{name}"]
            ends = {end: found[f"{name}{end}"] for end in calibrated.LEVELS}
            print("\n".join(coverage(name, ends, truth, groups, calibrated.QUANTITIES.get(name, False))))
    for name, title in BASELINES.items():
        if f"{name}_flux" in rows:
            flux, error = rows[f"{name}_flux"], rows[f"{name}_error"]
            flux = np.where(flux > 0, flux, np.nan)
            ends = {"": flux, "_lo68": flux - error, "_hi68": flux + error}
            ends |= {"_lo95": flux - 1.96 * error, "_hi95": flux + 1.96 * error}
            print("\n".join(coverage(title, ends, rows["true_total"], groups, True)))
    if sources.COUNTS[0] in found:
        print("\n".join(reliability(found, rows["true_sources"], rows["true_magnitude"])))
        print("\n".join(seconds(rows, found, groups)))


def groups_of(rows, found):
    """The objects of each row of a table that hold a source, by its label, bool [G]."""
    held, blended = rows["true_sources"] > 0, rows["true_sources"] > 1
    out = _bins("{}–{}", MAGNITUDES, rows["true_magnitude"])
    out |= {"one source": rows["true_sources"] == 1, "two or more": blended}
    out |= _bins('two or more, {}–{}"', SEPARATIONS, rows.get("true_separation", np.full(len(held), np.nan)))
    out |= {"two or more, P(blend) < 0.5": blended & (rows["p_blend"] < 0.5), "P(blend) ≥ 0.5": rows["p_blend"] >= 0.5}
    if sources.COUNTS[0] in found:
        out |= _bins("p_one {}–{}", P_ONE, found[sources.COUNTS[0]])
    return {label: group & held for label, group in {**out, "all": held}.items()}


def _bins(label, edges, values):
    """{label: bool [G]} of the values between two edges, the last one included."""
    last = edges[-1]
    return {
        label.format(low, high): (values >= low) & ((values < high) | ((high == last) & (values == last)))
        for low, high in pairwise(edges)
    }


def coverage(name, ends, truth, groups, relative):
    """Lines of a table: bias, width and coverage of a quantity's intervals in each group.

    Args:
      ends: {"": value, "_lo68": lower end, ...} [G]. truth: [G]. relative: errors and widths are over the value.
    """
    lines = [HEAD.format(name)]
    for label, group in groups.items():
        known = group & np.isfinite(truth) & np.isfinite(ends[""])
        if known.sum() < FEWEST:
            continue
        true, at = truth[known], {end: values[known] for end, values in ends.items()}
        error = at[""] / true - 1 if relative else at[""] - true
        width = (at["_hi68"] - at["_lo68"]) / 2 / (at[""] if relative else 1)
        shares = [np.mean((true >= at[f"_lo{k}"] - 1e-9) & (true <= at[f"_hi{k}"] + 1e-9)) for k in (68, 95)]
        lines.append(
            f"| {label} | {known.sum()} | {np.median(error):+.3f} | {np.median(width):.3f} | {shares[0]:.2f} |"
            f" {shares[1]:.2f} |"
        )
    return lines


def reliability(found, number, magnitude):
    """Lines of two tables: what the probabilities of 1, 2, 3 or more sources say, and how often it is so.

    Args:
      found: `p_one`, `p_two`, `p_more` [G]. number: of sources [G]. magnitude: of the brightest, inf for none [G].
    """
    known = np.isfinite(found["p_one"])
    true = {"p_one": number == 1, "p_two": number == 2, "p_more": number > 2}
    lines = ["\n| probability |" + "".join(f" {name}: objects | says | is |" for name in sources.COUNTS)]
    lines.append("|---|" + "---|---|---|" * len(true))
    binned = {name: _bins("{}–{}", BINS, found[name]) for name in sources.COUNTS}
    for label in binned["p_one"]:
        lines.append(f"| {label} |" + "".join(_cells(found[k], true[k], binned[k][label]) for k in true))
    lines.append("\n| magnitude | objects |" + "".join(f" {name}: says | is |" for name in sources.COUNTS))
    lines.append("|---|---|" + "---|---|" * len(true))
    groups = {**_bins("{}–{}", MAGNITUDES, magnitude), "no source": ~np.isfinite(magnitude), "all": known}
    for label, group in groups.items():
        chosen = group & known
        cells = (_cells(found[k], true[k], chosen, counted=False) for k in true)
        lines.append(f"| {label} | {chosen.sum()} |" + "".join(cells))
    return lines


def _cells(says, true, chosen, counted=True):
    """Mean probability and share [with its standard error] of the chosen objects."""
    n = int(chosen.sum())
    share, says = (np.mean(true[chosen]), np.mean(says[chosen])) if n else (np.nan, np.nan)
    error = np.sqrt(share * (1 - share) / n) if n else np.nan
    return (f" {n} |" if counted else "") + (f" {says:.3f} | {share:.3f} ± {error:.3f} |" if n else " | |")


def seconds(rows, found, groups):
    """Lines of a table: which share of the objects of each group is said to hold two or more sources."""
    said = {"p_two + p_more ≥ 0.5": found["p_two"] + found["p_more"] >= 0.5, "p_blend ≥ 0.5": rows["p_blend"] >= 0.5}
    said |= {f"{name}: two or more": rows[f"{name}_number"] > 1 for name in BASELINES if f"{name}_number" in rows}
    lines = ["\n| two or more sources | objects |" + "".join(f" {name} |" for name in said)]
    lines.append("|---|---|" + "---|" * len(said))
    for label, group in groups.items():
        chosen = group & (rows["true_sources"] > 1)
        if (label.startswith("two or more,") and chosen.sum() >= FEWEST) or label == "two or more":
            shares = "".join(f" {np.mean(one[chosen]):.2f} |" for one in said.values())
            lines.append(f"| {label} | {chosen.sum()} |{shares}")
    right = [rows["true_sources"][one] > 1 for one in said.values()]
    lines.append("| of those said to, hold them | |" + "".join(f" {np.mean(r):.2f} of {len(r)} |" for r in right))
    return lines
