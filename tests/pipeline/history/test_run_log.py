"""The log of the runs: one line each, readable after a damaged one."""

from blendinator.pipeline.history import run_log


def entry(status, spans=(1,), **more):
    return {"command": "run", "status": status, "spans": list(spans), **more}


def test_no_log_is_no_run(tmp_path):
    assert run_log.read(tmp_path) == [] and run_log.last_completed(tmp_path) is None
    assert run_log.used_spans(tmp_path) == set()


def test_last_completed_passes_over_failures_and_idle_runs(tmp_path):
    for one in (
        entry("pushed", version="v"),
        entry("refused", number=2),
        entry("failed"),
        entry("nothing"),
        entry("interrupted"),
    ):
        run_log.append(tmp_path, one)
    assert len(run_log.read(tmp_path)) == 5
    assert run_log.last_completed(tmp_path) == {"format_version": 1, **entry("refused", number=2)}


def test_spans_of_failed_runs_are_not_used(tmp_path):
    run_log.append(tmp_path, entry("pushed", (1, 2)))
    run_log.append(tmp_path, entry("failed", (3,)))
    assert run_log.used_spans(tmp_path) == {1, 2}


def test_damaged_line_is_passed_over(tmp_path):
    run_log.append(tmp_path, entry("pushed"))
    with open(run_log.log_path(tmp_path), "a") as file:
        file.write('{"status": "pus\n')
    run_log.append(tmp_path, entry("refused"))
    assert [one["status"] for one in run_log.read(tmp_path)] == ["pushed", "refused"]


def test_line_cut_by_a_power_failure_takes_no_other_one_with_it(tmp_path):
    run_log.append(tmp_path, entry("pushed", (1,)))
    with open(run_log.log_path(tmp_path), "a") as file:
        file.write('{"status": "pus')
    run_log.append(tmp_path, entry("pushed", (2,)))
    assert run_log.used_spans(tmp_path) == {1, 2}


def test_lines_of_another_kind_are_passed_over(tmp_path):
    run_log.append(tmp_path, entry("pushed"))
    with open(run_log.log_path(tmp_path), "ab") as file:
        file.write(b"null\n[1]\n\xff\xfe\n")
    assert run_log.used_spans(tmp_path) == {1}
