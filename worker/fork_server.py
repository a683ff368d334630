"""Trainers that start at once: `python -m worker.fork_server WORKER` has imported all that a trainer needs, and forks.

    a line of JSON in:  {"job_id": ..., "attempt": ..., "tenant": ..., "log": its file, "settings": {variable: value}}
    two lines out:      the trainer's pid; when it has ended, its exit code, negative for a signal
    a line in:          the supervisor knows; the pid may be used again

One trainer at a time, each a fresh process that ends with its attempt: neither CUDA nor a thread of torch's is there
before the fork. `worker.trainer_process` is the other end.
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

_LEFT_ALONE: Final = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Serve until there is nobody to serve any more."""
    # What becomes of its trainer is the supervisor's to say: the nursery ends with that, or when it hears no more.
    for number in _LEFT_ALONE:
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
    """Import what torch leaves for the first use, and let forks share it all."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)], fused=True)
    gc.collect()
    gc.freeze()


def _fork(request: dict[str, Any]) -> int:
    """A trainer's pid; not told before it is sure to die with this process, whatever is done to it."""
    told, tell = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(told)
        _become_trainer(request, parent, tell)
    os.close(tell)
    os.read(told, 1)
    os.close(told)
    return pid


def _end_of(pid: int) -> int:
    """Wait for its end, and leave it as a zombie, whose pid is nobody else's."""
    found: Any = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    code = int(found.si_status)
    return code if found.si_code == os.CLD_EXITED else -code


def _become_trainer(request: dict[str, Any], parent: int, ready: int) -> NoReturn:
    """In the fork: a session of its own, its output in the attempt's log, and the trainer's `main`."""
    code: int = Exit.INTERNAL
    try:
        os.setsid()
        die_with_parent(parent, signal.SIGKILL)
        for number in _LEFT_ALONE:
            signal.signal(number, signal.SIG_DFL)
        os.close(ready)
        _redirect(request["log"])
        os.environ.update(request["settings"])
        # No longer than the nursery's own command, or it would run into the environment that stands behind it.
        setproctitle(f"worker.trainer {request['job_id']} {request['attempt']}")
        code = attempt.main([request["job_id"], str(request["attempt"]), request["tenant"]])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else Exit.INTERNAL
    except BaseException:  # noqa: BLE001 - a fork must not go back into the nursery's loop
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
