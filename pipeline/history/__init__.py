"""What earlier runs left: metadata, the run log, lineage, retention, explanations and reports."""
