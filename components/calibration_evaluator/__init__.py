"""Evaluates sampled class maps and their calibration, and decides the blessing."""
