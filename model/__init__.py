"""The ProbaUNet: network, losses, training, export, calibration metrics, and fields."""
