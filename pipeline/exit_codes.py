"""Exit codes of the commands; docs/reliability.md shows the same table."""

from collections.abc import Mapping

from blendinator.pipeline.history import run_log

OK, FAILED, USAGE, NOT_PUSHED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

MEANINGS = {
    OK: "done; `run` and `retrain`: a model was pushed, or there was nothing to do; `explain`: the run pushed",
    FAILED: "a problem that one message names; `run`, `retrain`, `explain`: the run failed",
    USAGE: "the command line is wrong",
    NOT_PUSHED: "`run`, `retrain`, `explain`: the run completed, and its model was not good enough to be pushed",
    INTERRUPTED: "Ctrl-C",
    TERMINATED: "SIGTERM",
}

_STATUS = {run_log.PUSHED: OK, run_log.NOTHING: OK, run_log.REFUSED: NOT_PUSHED}


def of_run(entry: Mapping) -> int:
    """The code of a run with this entry of the run log."""
    return _STATUS.get(entry["status"], FAILED)


def of_explanation(explanation: Mapping) -> int:
    """The code of a run with this explanation (`blendinator.pipeline.history.explain.explain`): that of `run`."""
    if explanation["pushed"]:
        return OK
    completed = all(step["state"] in ("COMPLETE", "CACHED") for step in explanation["steps"])
    return NOT_PUSHED if completed else FAILED


def for_orchestrator(code: int) -> int:
    """The same for a task of an orchestrator, which did its work when it refused a model."""
    return OK if code == NOT_PUSHED else code
