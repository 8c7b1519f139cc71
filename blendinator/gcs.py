"""Google's client of an object store: one for each process, its patience, and its errors as ours."""

import contextlib
import errno
import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from blendinator.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    from blendinator.stores import ObjectPath

RETRY_SECONDS = 120.0  # for which a request is repeated when the store does not answer
_CREDENTIALS = "Call `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key's file."


def patience() -> dict[str, Any]:
    """The arguments of every request that say how long it is repeated."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return {"retry": DEFAULT_RETRY.with_timeout(RETRY_SECONDS), "timeout": 60}


@contextlib.contextmanager
def errors(path: "ObjectPath", writing: bool = False) -> Iterator[None]:
    """Raises what the client raises as one of our errors, or as the OSError that pathlib would raise."""
    import google.auth.exceptions
    import requests
    from google.api_core import exceptions

    try:
        yield
    except exceptions.NotFound:
        if not writing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        raise ServiceError(
            f"{path}: the bucket {path.bucket!r} does not exist. Correct the address, or make the bucket:"
            f" gcloud storage buckets create gs://{path.bucket}"
        )
    except exceptions.PreconditionFailed:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise ServiceError(
            f"{path}: the store refuses access ({error.code}). Give the account that runs this the role"
            f" roles/storage.objectUser on gs://{path.bucket}, or name another account's key in"
            " GOOGLE_APPLICATION_CREDENTIALS."
        )
    except google.auth.exceptions.GoogleAuthError as error:
        raise ServiceError(f"{path}: the credentials cannot be used ({error}). {_CREDENTIALS}")
    except (
        exceptions.GoogleAPIError,
        requests.RequestException,
        ConnectionError,
    ) as error:
        raise ServiceError(
            f"{path}: the store does not answer as it should ({type(error).__name__}: {str(error)[:300]}). Check the"
            " network and, if it is set, STORAGE_EMULATOR_HOST; then run again."
        )


def client(path: "ObjectPath") -> Any:
    """The client of this process: its connections must not be shared with processes forked from it."""
    try:
        return _connected(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))
    except ImportError as error:
        raise ConfigError(
            f"{path}: an address in an object store needs the package google-cloud-storage ({error}). Install it: pip"
            " install 'blendinator[gcs]'"
        )
    except Exception as error:
        if type(error).__name__ != "DefaultCredentialsError":
            raise
        raise ServiceError(f"{path}: there are no credentials for Google Cloud. {_CREDENTIALS}")


@functools.lru_cache(maxsize=2)
def _connected(process: int, emulator: str | None) -> Any:
    from google.cloud.storage import Client

    # A project is needed for making buckets alone, which is not done here; without one the client would look for it.
    return Client(project="none")
