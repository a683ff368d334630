"""`python -m worker.fork_server WORKER`: imports what a trainer needs, then forks trainers that start at once.

    stdin, a line of JSON:  {"job_id": ..., "attempt": ..., "tenant": ..., "log": path, "settings": {variable: value}}
    stdout, two lines:      the trainer's pid; after its end its exit code, negative for a signal
    stdin, an empty line:   the supervisor has read both, and the pid may be reused

It runs one trainer at a time. Each is a fresh process that ends with its attempt: before the fork there is neither a
CUDA context nor a thread of torch. `worker.trainer_process` is the other end of the pipe.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from typing import Any, Final, NoReturn

import torch
from setproctitle import setproctitle

from jobs.runtime.process import die_with_parent
from worker.exits import Exit
from worker.trainer import attempt

_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Fork trainers until stdin is closed. Returns 0."""
    # The supervisor decides when a trainer ends. This process ends with the supervisor, or when stdin is closed.
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _warm()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    for line in requests:
        request = json.loads(line)
        pid = _fork(request)
        answers.write(b"%d\n" % pid)
        answers.flush()
        answers.write(b"%d\n" % _end_of(pid))
        answers.flush()
        requests.readline()
        os.waitpid(pid, 0)
    return 0


def _warm() -> None:
    """Import what torch loads at the first use, and keep it in memory that forks share."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)], fused=True)
    gc.collect()
    gc.freeze()


def _fork(request: dict[str, Any]) -> int:
    """Fork a trainer and return its pid, once the kernel is set to kill it when this process ends."""
    ready_end, write_end = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(ready_end)
        _become_trainer(request, parent, write_end)
    os.close(write_end)
    os.read(ready_end, 1)
    os.close(ready_end)
    return pid


def _end_of(pid: int) -> int:
    """Wait for the process's end and return its exit code. It stays a zombie, so that its pid is not reused."""
    found: Any = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    code = int(found.si_status)
    return code if found.si_code == os.CLD_EXITED else -code


def _become_trainer(request: dict[str, Any], parent: int, ready: int) -> NoReturn:
    """Run the trainer's `main` in the fork, in a session of its own, with its output in the attempt's log."""
    code: int = Exit.INTERNAL
    try:
        os.setsid()
        die_with_parent(parent, signal.SIGKILL)
        for number in _IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.close(ready)
        _redirect(request["log"])
        os.environ.update(request["settings"])
        # The title must not be longer than the fork server's command: the environment follows it in memory.
        setproctitle(f"worker.trainer {request['job_id']} {request['attempt']}")
        code = attempt.main([request["job_id"], str(request["attempt"]), request["tenant"]])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else Exit.INTERNAL
    except BaseException:  # noqa: BLE001 - a fork must not return to the fork server's loop
        traceback.print_exc()
    attempt.leave(code)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)


if __name__ == "__main__":
    sys.exit(main())
