"""Checks of the machine, the installed libraries and an output folder."""
