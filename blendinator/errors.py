"""The errors a user can cause, and nothing else.

Raise `ConfigError` for a key of the configuration or a command-line option, `DataError` for spans, manifests and
records, `ModelError` for models, weights and exports, `ServiceError` for a server that cannot be reached or refuses,
`MachineError` for hardware that will not do.
Each message names the thing at fault (key, file, record), what was received, and the remedy. The command line prints
the message without a traceback and exits with code 1. Anything else that is raised is a defect of ours and keeps its
traceback.
"""

from blendinator.escape import printable

__all__ = ["BlendinatorError", "ConfigError", "DataError", "MachineError", "ModelError", "ServiceError"]


class BlendinatorError(Exception):
    """Base of every error with a remedy that a user can apply. Its text is safe to show: it may quote a record."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(BlendinatorError):
    """A configuration key or option is unknown, of the wrong type or out of range."""


class DataError(BlendinatorError):
    """A span, manifest, file or record is missing, damaged or outside the contract."""


class ModelError(BlendinatorError):
    """A model, its weights or its export is missing, damaged or outside the contract."""


class ServiceError(BlendinatorError):
    """A server, such as Kubeflow's, cannot be reached or refuses a request."""


class MachineError(BlendinatorError):
    """The machine lacks what the libraries need."""
