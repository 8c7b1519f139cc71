"""What an unattended run simulates, returns and reports."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from blendinator.config import Config, RetrainingConfig
from blendinator.data import spans
from blendinator.errors import DataError
from blendinator.pipeline import retrain
from blendinator.pipeline.history import retention, run_log
from blendinator.pipeline.run import nothing_to_do


@pytest.fixture
def config(tmp_path):
    return dataclasses.replace(Config(), output_dir=str(tmp_path))


def make_span(config, span):
    folder = spans.span_dir(config.data_root, span)
    folder.mkdir(parents=True)
    (folder / spans.MANIFEST).write_text(
        json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}, "simulation": {}})
    )


def note(config, status, numbers, **more):
    run_log.append(config.output_dir, {"command": "run", "status": status, "spans": numbers, **more})


def test_first_span(config):
    assert retrain.span_to_simulate(config) == 1


def test_unused_span_is_used_first(config):
    make_span(config, 1)
    assert retrain.span_to_simulate(config) is None
    note(config, "failed", [1])
    assert retrain.span_to_simulate(config) is None


def test_used_span_is_followed_by_the_next(config):
    make_span(config, 1)
    make_span(config, 4)
    note(config, "refused", [4])
    assert retrain.span_to_simulate(config) == 5


def test_no_simulation(config):
    config = dataclasses.replace(config, retraining=RetrainingConfig(simulate=False))
    assert retrain.span_to_simulate(config) is None


@pytest.mark.parametrize(
    "status, code, hook",
    [("pushed", 0, None), ("nothing", 0, None), ("refused", 3, "refusal"), ("failed", 1, "failure")],
)
def test_exit_code_and_hook(config, tmp_path, monkeypatch, status, code, hook):
    save = f'tee {tmp_path}/%s.json; echo "$BLENDINATOR_STATUS $BLENDINATOR_REASON" > {tmp_path}/%s.txt'
    config = dataclasses.replace(
        config,
        retraining=RetrainingConfig(
            simulate=False, on_failure=save % ("failure", "failure"), on_refusal=save % ("refusal", "refusal")
        ),
    )

    def body(config, spans, console, entry):
        if status == "failed":
            raise DataError("span 1 is damaged")
        entry |= {"status": status, "reason": "because"}

    monkeypatch.setattr(retrain, "run_pipeline", body)
    monkeypatch.setattr(retention, "prune", lambda config: [])
    assert retrain.retrain(config) == code
    called = sorted(path.name for path in tmp_path.glob("*.json"))
    assert called == ([f"{hook}.json"] if hook else [])
    [entry] = run_log.read(tmp_path)
    assert (entry["command"], entry["status"]) == ("retrain", status) and entry["ended"]
    if hook:
        assert json.loads((tmp_path / f"{hook}.json").read_text())["status"] == status
        reason = "span 1 is damaged" if status == "failed" else "because"
        assert (tmp_path / f"{hook}.txt").read_text() == f"{status} {reason}\n"


def test_a_defect_calls_the_hook_too(config, tmp_path, monkeypatch):
    config = dataclasses.replace(
        config,
        retraining=RetrainingConfig(
            simulate=False, on_failure=f'tee {tmp_path}/hook.json; echo "$BLENDINATOR_REASON" > {tmp_path}/hook.txt'
        ),
    )

    def body(*_):
        raise ValueError("shapes differ")

    monkeypatch.setattr(retrain, "run_pipeline", body)
    with pytest.raises(ValueError, match="shapes differ"):
        retrain.retrain(config)
    assert (tmp_path / "hook.txt").read_text() == "ValueError: shapes differ\n"
    [entry] = run_log.read(tmp_path)
    assert json.loads((tmp_path / "hook.json").read_text()) == entry and Path(entry["log"]).is_file()


def test_a_hook_that_fails_is_logged(config, caplog):
    config = dataclasses.replace(config, retraining=RetrainingConfig(on_failure="echo no mail >&2; exit 4"))
    retrain.call_hook(config, {"status": "failed"})
    assert "the command for a run that was failed ended with code 4: no mail" in caplog.text
    assert "exit 4" not in caplog.text


def test_a_hook_that_hangs_is_logged(config, caplog, monkeypatch):
    monkeypatch.setattr(retrain, "HOOK_TIMEOUT", 0.1)
    config = dataclasses.replace(config, retraining=RetrainingConfig(on_refusal="sleep 20 # TOKEN"))
    retrain.call_hook(config, {"status": "refused"})
    assert "did not end within 0 s" in caplog.text and "TOKEN" not in caplog.text


def test_two_never_run_at_once(config, tmp_path, capfd):
    hold = (
        "import sys, time\nfrom blendinator.lock import exclusive\nwith exclusive(sys.argv[1], 'run'):\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    config = dataclasses.replace(config, retraining=RetrainingConfig(on_failure=f"cat > {tmp_path}/hook.json"))
    holder = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert retrain.retrain(config) == 1
        assert f"process {holder.pid} (blendinator run" in capfd.readouterr().out
        assert run_log.read(tmp_path) == []
        told = json.loads((tmp_path / "hook.json").read_text())
        assert told["format_version"] == 1 and told["log"] is None and "another folder" in told["reason"]
    finally:
        holder.kill()
        holder.wait()


class Terminal:
    def __init__(self):
        self.text = ""

    def print(self, text, **_):
        self.text += text


def test_nothing_to_do_is_said_with_what_there_is(config, tmp_path):
    version = tmp_path / "7"
    version.mkdir()
    note(
        config,
        "pushed",
        [1],
        request="abc",
        version=str(version),
        started="yesterday",
        report="page.html",
        log="x.log",
        run="r",
    )
    note(config, "nothing", [1], request="abc")
    terminal, entry = Terminal(), {"request": "abc"}
    assert nothing_to_do(config, entry, terminal)
    assert entry["status"] == "nothing" and f"version   {version}\n" in terminal.text and "page.html" in terminal.text


@pytest.mark.parametrize("request_key, status, version", [("abc", "pushed", "/gone/7"), ("xyz", "refused", None)])
def test_there_is_something_to_do(config, request_key, status, version):
    note(config, status, [1], request=request_key, version=version, started="yesterday")
    assert not nothing_to_do(config, {"request": "abc"}, Terminal())


def test_a_refused_model_is_not_trained_again(config):
    note(
        config,
        "refused",
        [1],
        request="abc",
        version=None,
        started="yesterday",
        reason="too bad",
        report="p",
        log="l",
        run="r",
    )
    terminal = Terminal()
    assert nothing_to_do(config, {"request": "abc"}, terminal) and "not pushed, because too bad" in terminal.text
