"""Whole fields: noise, tiles, FITS files, catalogue and preview. Needs neither TFX nor Beam nor Keras."""
