"""What a user can fix becomes one message; everything else stays a defect."""

import errno
import re

import pytest
import tensorflow as tf

from blendinator.errors import DataError, ModelError
from blendinator.pipeline.failures import explain


def test_our_errors_explain_themselves():
    error = DataError("a.tfrecord: record 3 is bad")
    assert str(explain(error)) == "a.tfrecord: record 3 is bad"


def test_errors_are_found_behind_those_they_caused_and_lose_the_name_of_beams_step():
    try:
        try:
            raise ModelError("the export is damaged [while running 'Score/ParDo']")
        except ModelError as cause:
            raise RuntimeError("Component failed") from cause
    except RuntimeError as error:
        found = explain(error)
    assert isinstance(found, ModelError) and str(found) == "the export is damaged"


def test_full_disk_is_explained():
    # /dev/full is the kernel's own full disk: the error is the real one.
    with pytest.raises(OSError) as raised, open("/dev/full", "w") as file:
        file.write("x")
    assert raised.value.errno == errno.ENOSPC
    assert "output_dir: this cannot be written (No space left on device). The disk is full: free some space" in str(
        explain(raised.value)
    )


@pytest.mark.parametrize("text", ["RESOURCE_EXHAUSTED: x/y; No space left on device", "database or disk is full"])
def test_full_disk_is_explained_when_a_library_says_it_in_its_own_words(text):
    assert "The disk is full: free some space" in str(explain(RuntimeError(text)))


@pytest.mark.parametrize(
    "code, reason",
    [(errno.EACCES, "Permission denied"), (errno.ENOTDIR, "Not a directory"), (errno.EROFS, "Read-only file system")],
)
def test_folder_that_cannot_be_written_is_named(code, reason):
    message = str(explain(OSError(code, reason, "/x/y")))
    assert message.startswith(f"/x/y: this cannot be written ({reason}). Check the folder's permissions")


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError(), "There is not enough memory .no text.. Reduce training.batch_size"),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore"),
            "There is not enough memory .OOM when allocating tensor.. Reduce",
        ),
        (
            tf.errors.DataLossError(None, None, "corrupted record at 12"),
            "damaged .corrupted record at 12.. Run .* --no-cache",
        ),
        (
            RuntimeError("attempt to write a readonly database"),
            "readonly database: output_dir cannot be written. Check",
        ),
    ],
)
def test_faults_that_libraries_report_are_explained(error, message):
    found = explain(error)
    assert isinstance(found, DataError) and re.search(message, str(found))


def test_interruption_is_explained():
    assert "Run again to go on" in str(explain(KeyboardInterrupt()))


def test_defects_are_not_explained():
    assert explain(ValueError("shapes differ")) is None
