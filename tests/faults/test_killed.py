"""SIGKILL and SIGTERM at random moments of a whole retraining, from the simulation to the pruning.

After each one the folder is looked at as it lies there; the next run goes on from it, and every fifth is left alone.
`tests/faults/test_interrupted.py` kills at the worst moment of each component; here nobody chooses the moment.
"""

import json
import signal
import sys

from blendinator.data import spans
from blendinator.files import INCOMING, REMOVED
from blendinator.lock import exclusive
from blendinator.model.live import list_versions, read_facts
from blendinator.model.versions import digest
from blendinator.pipeline.history import metadata, run_log

RUNS_KILLED = 4  # one after the other, before one that is left alone
EXIT_CODES = {signal.SIGKILL: 137, signal.SIGTERM: 143}


def numbered(config):
    return [path for path in config.serving_dir.glob("*") if path.name.isdigit()]


def state(config) -> dict:
    """What must not be lost: versions with their content, complete spans, the log of the runs."""
    return {
        "versions": {path.name: digest(path) for path in list_versions(config.serving_dir)},
        "spans": spans.list_spans(config.data_root),
        "log": run_log.log_path(config.output_dir).read_text() if run_log.log_path(config.output_dir).exists() else "",
    }


def check_nothing_is_lost(config, before):
    """The folder as a killed run left it, compared with what was there before that run."""
    now = state(config)
    assert [path.name for path in numbered(config)] != [] or before["versions"] == {}
    assert {path.name for path in numbered(config)} == set(now["versions"])  # a server finds whole versions only
    for version, content in now["versions"].items():
        assert before["versions"].get(version, content) == content
        read_facts(config.serving_dir / version)
    kept = sorted(before["versions"], key=int)[-config.retraining.keep_versions + 1 :]  # one may have been added
    assert set(kept) <= set(now["versions"])
    assert set(before["spans"][-config.retraining.keep_spans + 1 :]) <= set(now["spans"])
    for span in now["spans"]:
        spans.verify_span(spans.span_dir(config.data_root, span))
    assert now["log"].startswith(before["log"])
    with exclusive(config.output_dir, "test"):
        pass


def check_whole(config):
    """The folder after a run that was left alone."""
    assert metadata.close_interrupted(config.metadata_path) == []
    known = metadata.pushed_versions(metadata.open_store(config.metadata_path))
    versions = [path.name for path in list_versions(config.serving_dir)]
    assert versions and set(versions) <= set(known)  # no push without a record
    for prefix in (INCOMING, REMOVED):
        assert not list(config.serving_dir.glob(prefix + "*"))
    assert list(config.checkpoint_root.iterdir()) == []


def test_retraining_survives_signals_at_random_moments(forks, configure, tmp_path, rng, request):
    nightly = request.config.getoption("--nightly")
    path, config = configure(tmp_path)
    seconds, hits = 25.0, 0
    for number in range(60 if nightly else 4):
        chosen = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        before = state(config)
        after = rng.uniform(0, seconds)
        killed = forks.ask("retrain", "--config", path, after=after, signal=int(chosen))
        story = f"{chosen.name} after {after:.2f} s: {json.dumps(killed, indent=1)}"
        hit = killed["status"] == EXIT_CODES[chosen]
        assert hit or killed["status"] == 0, story
        assert killed["left"] == 0, story
        check_nothing_is_lost(config, before)
        if hit and not killed["killed"]:  # SIGTERM, in order
            entry = run_log.read(config.output_dir)[-1]
            assert entry["status"] == run_log.INTERRUPTED and "Run again to go on" in killed["output"], story
        hits += hit
        step = killed["output"].rstrip().splitlines()[-4:] if hit else ["it had ended"]
        print(number, chosen.name, f"{after:.1f} s", killed["status"], step, file=sys.stderr, flush=True)
        if number % RUNS_KILLED == RUNS_KILLED - 1:
            whole = forks.ask("retrain", "--config", path)
            assert whole["status"] == 0, story + whole["output"]
            check_whole(config)
            seconds = whole["seconds"] if number < RUNS_KILLED else min(seconds, whole["seconds"])
    assert hits >= (50 if nightly else 2)
