"""How many sources an object holds, and which share of its flux belongs to others than the brightest.

The classes end at "two or more", and two galaxies that touch may share no pixel. What tells of a second source besides
a blended pixel is a footprint that is large, elongated or ragged for its signal-to-noise ratio S. Three logistic
regressions on simulated fields give the odds that an object holds any source, a second one if it holds one, and a third
one if it holds two (continuation ratios: Fienberg 1980, The Analysis of Cross-Classified Categorical Data).

The pipeline of Hyper Suprime-Cam calls the share of a parent's flux that a deblended child does not have its
blendedness (Bosch et al. 2018, PASJ 70, S5). Ours is an object's, with its brightest source for the child:
1 - brightest / total. It is 0 with the probability of one source; for more, a linear regression predicts its logit, and
what this leaves in simulated fields, with a spread that depends on S, is its distribution. The intervals are quantiles
of the two together.
"""

from typing import Any

import numpy as np
from scipy.special import expit

COUNTS = ("p_one", "p_two", "p_more")
STEPS = ("any", "second", "third")
LEVELS = (0.025, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9, 0.95, 0.975)  # of what the regression leaves
SMALLEST = 1e-4  # blendedness of an object with two sources: its logit is taken
RIDGE = 1.0  # inverse variance of the prior on each coefficient but the first


def features(columns: dict[str, Any], snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the regressions see of G objects [G, K], and where it is known [G].

    Args:
      columns: of `Cataloguer.finish`.
      snr: of the flux in the mask, NaN where nothing is to be said [G].
    """
    major, minor = (np.maximum(columns[name], 1e-3) for name in ("semimajor", "semiminor"))
    good = np.isfinite(snr)
    s = np.log(np.where(good, snr, 1.0))
    filled = np.log(np.maximum(columns["footprint"], 1.0) / (np.pi * major * minor))
    out = [
        np.ones_like(s),
        s,
        columns["p_blend"],
        np.log(np.maximum(columns["area"], 1.0)),
        np.nan_to_num(columns["ellipticity"]),
        filled,  # how much of its ellipse a footprint fills: a ragged one less
        s * filled,
    ]
    return np.stack(out, axis=1), good


def logistic(seen: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Coefficients [K] of a logistic regression, by Newton's method.

    Args:
      seen: features [G, K], the first of them 1. hit: whether it happened [G].
    """
    penalty, out = _penalty(seen), np.zeros(seen.shape[1])
    for _ in range(50):
        p = expit(seen @ out)
        hessian = (seen * (p * (1 - p))[:, None]).T @ seen + np.diag(penalty)
        step = np.linalg.solve(hessian, seen.T @ (hit - p) - penalty * out)
        out += step
        if np.abs(step).max() < 1e-8:
            break
    return out


def _penalty(seen: np.ndarray) -> np.ndarray:
    """Of each coefficient's square [K]; next to none of the constant's."""
    return np.append(1e-6, np.full(seen.shape[1] - 1, RIDGE))


def fit(columns: dict[str, Any], snr: np.ndarray, number: np.ndarray, blendedness: np.ndarray) -> dict:
    """The table's entry, from objects whose truth is known.

    Args:
      columns, snr: see `features`.
      number: of sources [G]. blendedness: [G], looked at where there are two or more.

    Returns:
      {step: coefficients}; of the blendedness, `blendedness`: coefficients of its logit, `spread`: slope and constant
      of the logarithm of what they leave over log S, `left`: quantiles at `LEVELS` of what they leave over the spread.
    """
    seen, good = features(columns, snr)
    out = {}
    for least, step in enumerate(STEPS):
        held = good & (number >= least)
        out[step] = logistic(seen[held], number[held] > least).tolist()
    held = good & (number > 1)
    seen, share = seen[held], np.clip(blendedness[held], SMALLEST, 1 - SMALLEST)
    wanted, spread = np.log(share / (1 - share)), np.ones(len(share))
    for _ in range(3):
        weighted = seen / np.square(spread)[:, None]
        coefficients = np.linalg.solve(weighted.T @ seen + np.diag(_penalty(seen)), weighted.T @ wanted)
        left = wanted - seen @ coefficients
        line = np.polyfit(seen[:, 1], np.log(np.maximum(np.abs(left), 0.01)), 1)
        spread = np.exp(np.polyval(line, seen[:, 1]))
    of_blendedness = {"blendedness": coefficients, "spread": line, "left": np.quantile(left / spread, LEVELS)}
    return {**out, **{name: value.tolist() for name, value in of_blendedness.items()}, "objects": int(good.sum())}


def calibrate(columns: dict[str, Any], snr: np.ndarray, entry: dict, levels: dict[str, float]) -> dict[str, np.ndarray]:
    """The catalogue's columns on the sources in each object, NaN where nothing is known.

    Args:
      columns, snr: see `features`.
      entry: of `fit`.
      levels: of the quantiles of the blendedness, by the ending of the column's name.

    Returns:
      `p_one`, `p_two`, `p_more` [G], which leave 1 for the probability of none; `blendedness`, `blendedness_lo68`, ...
      [G], of an object that holds any.
    """
    seen, good = features(columns, snr)
    any_, second, third = (expit(seen @ np.asarray(entry[step])) for step in STEPS)
    out = dict(zip(COUNTS, (any_ * (1 - second), any_ * second * (1 - third), any_ * second * third)))
    center, spread = seen @ np.asarray(entry["blendedness"]), np.exp(np.polyval(entry["spread"], seen[:, 1]))
    for end, level in levels.items():
        rest = (level - (1 - second)) / second  # the level among objects of two sources or more
        share = expit(center + spread * np.interp(rest, LEVELS, entry["left"]))
        out[f"blendedness{end}"] = np.where(rest > 0, share, 0.0)
    return {name: np.where(good, value, np.nan) for name, value in out.items()}
