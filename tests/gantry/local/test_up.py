"""`gantry up` starts, restarts and stops real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from gantry.client import Client
from gantry.local.data_folder import locked
from gantry.local.errors import LocalCommandError, UpError
from gantry.local.ports import dashboard_socket, port_of
from gantry.local.service_processes import ServiceProcess, ServiceProcesses, processes_of
from gantry.local.settings import LocalSettings, load_settings
from tests.ports import free_port


@contextmanager
def _up(data: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(data)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Return the lines up to the one that contains `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if text in line:
            return lines
    raise AssertionError(f"ended without {text!r}: {lines}")


def _children(pid: int) -> dict[int, str]:
    """Return every descendant of a process, with its command line."""
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    parents = {int(child): (int(parent), args) for child, parent, args in rows}
    family = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in family} - family:
        family |= more
    return {child: parents[child][1] for child in family - {pid}}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def test_the_service_starts_restarts_its_processes_and_leaves_none_behind(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    with _up(data, port) as up:
        lines = _read_until(up, "Ctrl-C stops it.")
        assert f"http://127.0.0.1:{port}" in lines[0] and sum("gantry " in line for line in lines) >= 3
        assert f"export GANTRY_URL=http://127.0.0.1:{port}" in "\n".join(lines)
        # The doctor waits 5 s for each part. A busy machine may take longer, so it is asked again.
        for _ in range(3):
            findings = _findings(data)
            if {name for name, finding in findings.items() if not finding["ok"]} <= {"devices"}:
                break
        assert {name for name, finding in findings.items() if not finding["ok"]} <= {"devices"}, findings
        family = _children(up.pid)
        for module in ("api", "jobs.relay", "worker", "worker.sampler", "api.ui"):
            assert any(f"-m {module} " in f"{args} " for args in family.values()), family

        second = _refused(data, free_port())
        assert "Another `gantry up` runs on" in second

        served = next(pid for pid, args in family.items() if "-m api --fd" in args)
        os.kill(served, signal.SIGKILL)
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.ready()["status"] == "ready", "a request meanwhile waits and is not refused"
        _read_until(up, "The api ended")

        relay = next(pid for pid, args in family.items() if args.endswith("-m jobs.relay"))
        os.kill(relay, signal.SIGKILL)
        (line,) = _read_until(up, "The relay ended")
        assert "killed by SIGKILL" in line
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.ready()["status"] == "ready"
        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=30) as browser:
            shown = browser.get(f"http://127.0.0.1:{port}/ui")
        assert shown.status_code == 200 and "Jobs – Gantry" in shown.text

        family = _children(up.pid)
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
        assert _gone(set(family))


def test_the_processes_of_a_killed_service_end(tmp_path: Path) -> None:
    with _up(tmp_path / "data", free_port()) as up:
        _read_until(up, "Ctrl-C stops it.")
        family = _children(up.pid)
        assert len(family) >= 4
        up.kill()
        up.wait()
        assert _gone(set(family))


def test_a_second_interrupt_kills_all_processes(tmp_path: Path) -> None:
    with _up(tmp_path / "data", free_port()) as up:
        _read_until(up, "Ctrl-C stops it.")
        family = _children(up.pid)
        # A stopped process cannot end. Without it, all would end before the second signal comes.
        os.kill(next(pid for pid, args in family.items() if args.endswith("-m jobs.relay")), signal.SIGSTOP)
        # A closed terminal asks for a stop, and may ask twice.
        up.send_signal(signal.SIGHUP)
        _read_until(up, "Stopping")
        up.send_signal(signal.SIGHUP)
        assert up.poll() is None
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 130
        assert _gone(set(family))


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        message = _refused(tmp_path / "data", taken.getsockname()[1])
    assert "Cannot listen on 127.0.0.1" in message and "--port" in message


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in _refused(tmp_path / "file" / "data", free_port())


def test_a_lock_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    # The lock of another user is a PermissionError, but not for root.
    (tmp_path / "up.lock").mkdir()
    with pytest.raises(UpError, match=r"up.lock cannot be opened: .*Choose another --data"), locked(tmp_path):
        pass


def test_a_log_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs" / "api.log").mkdir(parents=True)
    settings = _settings(tmp_path)
    with pytest.raises(UpError, match=r"The api cannot start: Is a directory: .*api.log"):
        ServiceProcesses(settings, processes_of(settings, [])[:1]).start_all()


def test_a_worker_that_failed_starts_again_and_a_drained_one_does_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    settings = replace(_settings(tmp_path), environment=dict(os.environ))
    for code, sentence in ((1, "The worker ended (exit code 1); it starts again in 1 s."), (0, "was drained")):
        worker = ServiceProcess("worker", [sys.executable, "-c", f"raise SystemExit({code})"], 1, is_worker=True)
        processes = ServiceProcesses(settings, [worker])
        processes.start_all()
        assert worker.process is not None
        worker.process.wait(60)
        processes.restart_ended()
        assert worker.process is None and sentence in capfd.readouterr().out
        worker.restart_at = min(worker.restart_at, time.monotonic()) if code else worker.restart_at
        processes.restart_ended()
        assert (worker.process is None) == (code == 0)
        processes.kill_all()


def _refused(data: Path, port: int) -> str:
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(data)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1, done
    return done.stderr


def _findings(data: Path) -> dict[str, dict[str, object]]:
    argv = [sys.executable, "-m", "gantry", "doctor", "--json", "--data", str(data)]
    found: dict[str, dict[str, object]] = json.loads(subprocess.run(argv, capture_output=True, check=False).stdout)
    return found


def test_the_dashboard_takes_another_port_only_if_none_was_chosen(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    with socket.create_server(("127.0.0.1", free_port())) as other:
        taken = port_of(other)
        # Not the default port: another service on this machine may take and free it at any moment.
        other_port = replace(settings, ui_port=taken)
        with dashboard_socket(other_port) as moved:
            assert port_of(moved) != taken
        with pytest.raises(UpError, match=rf"dashboard cannot listen on .*:{taken}: .*GANTRY_UI_PORT"):
            dashboard_socket(settings.with_values(ui_port=taken))
    asked = settings.with_values(ui_port=free_port())
    with dashboard_socket(asked) as own:
        assert port_of(own) == asked.ui_port


def test_settings_come_from_the_service_as_do_their_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_GRACE_SECONDS", "7")
    monkeypatch.setenv("GANTRY_KEY", "gan_live_of_the_caller")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys"))
    settings = load_settings(port=1234, data_dir=tmp_path, host=None)
    assert (settings.port, settings.host, settings.grace_seconds) == (1234, "127.0.0.1", 7.0)
    assert settings.given("port") and not settings.given("host")
    assert settings.environment["GANTRY_DATA_DIR"] == str(tmp_path) and "GANTRY_KEY" not in settings.environment
    assert "SSLKEYLOGFILE" not in settings.environment
    with pytest.raises(LocalCommandError, match="GANTRY_PORT is not usable") as refused:
        load_settings(port=99_999)
    assert refused.value.code == 2


def test_there_is_a_worker_for_each_gpu_which_sees_no_other(tmp_path: Path) -> None:
    two = [
        child for child in processes_of(_settings(tmp_path), ["GPU-a", "GPU-b"]) if child.name.startswith("worker")
    ]
    assert [(child.name, child.env["CUDA_VISIBLE_DEVICES"]) for child in two] == [
        ("worker-0", "GPU-a"),
        ("worker-1", "GPU-b"),
    ]


def test_without_a_gpu_there_is_one_worker_with_the_same_environment(tmp_path: Path) -> None:
    (one,) = (child for child in processes_of(_settings(tmp_path), []) if child.name.startswith("worker"))
    assert one.name == "worker" and one.env == {}


def _settings(folder: Path) -> LocalSettings:
    return LocalSettings(folder, "127.0.0.1", 8000, 8002, "http://127.0.0.1:8001", 30.0, {})
