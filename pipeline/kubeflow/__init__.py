"""The pipeline on Kubeflow Pipelines v2: compile, try without a cluster, submit, schedule."""
