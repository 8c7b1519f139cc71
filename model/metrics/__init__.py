"""Metrics of class maps, per-pixel probabilities and sampled maps.

The data flow, in order of the files:

1. `pixels.py`, `joint.py`: batches of images to statistics per scene (numpy only).
2. `scenes.py`: all of these as one row per scene; the rows are additive, so that any subset or weighting of the scenes
   is a weighted sum of rows.
3. `bootstrap.py`: weights of the scenes, one set per replicate.
4. `aggregate.py`: summed rows to named metrics.
5. `evaluation.py`: metrics with intervals by population and slice; `rules.py`: the verdict.
6. `headlines.py`: the metrics that reports and lists show.
"""
