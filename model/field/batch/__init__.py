"""Many images in one run: which they are, what is done already, and a summary."""
