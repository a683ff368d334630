"""The faults of a storm: what each does to a service, and on which profiles it is possible."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from typing import Final

from tests.faults import servers
from tests.faults.caller import LoadCaller, UnansweredError
from tests.faults.fleet import LEASE_SECONDS, STALL_SECONDS, Fleet, Infrastructure, Profile, Role
from tests.faults.history import ClientView
from tests.faults.processes import TrainerHandle, signal_all
from tests.faults.proxy import Proxy

_ACCEPTED: Final = (200, 202)


@dataclass
class StormContext:
    """What a fault may act on."""

    infrastructure: Infrastructure
    fleet: Fleet
    caller: LoadCaller
    clients: ClientView
    pool: ThreadPoolExecutor
    """Threads for actions that run beside the storm."""
    seed: InitVar[int]
    submit_one: Callable[[], object] = lambda: None
    """A function that submits the next job, if one is left."""
    paused: set[str] = field(default_factory=set)
    random: random.Random = field(init=False)
    _timers: list[threading.Timer] = field(default_factory=list)

    def __post_init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def schedule(self, seconds: float, action: Callable[[], object]) -> None:
        """Run `action` after `seconds`; the end of the storm waits for it."""
        timer = threading.Timer(seconds, action)
        self._timers.append(timer)
        timer.start()

    def wait_for_scheduled(self) -> None:
        """Wait for all scheduled actions."""
        for timer in self._timers:
            timer.join()


@dataclass(frozen=True)
class TargetedFault:
    """A fault of one job in mid-training: it hits the trainer or a process above it. Drawn by its weight."""

    weight: int
    strike: Callable[[StormContext, TrainerHandle], str]
    """Inject the fault. Returns a description for the log."""


@dataclass(frozen=True)
class SharedFault:
    """A fault that affects all jobs."""

    weight: int
    strike: Callable[[StormContext], str]
    profiles: tuple[Profile, ...] = ("embedded", "production")


def kill_trainer(context: StormContext, target: TrainerHandle) -> str:
    signal_all([target.pid], signal.SIGKILL)
    return f"pid {target.pid}"


def kill_fork_server(context: StormContext, target: TrainerHandle) -> str:
    """Kill the fork server; its trainer dies with it."""
    signal_all([target.fork_server], signal.SIGKILL)
    return f"pid {target.fork_server}"


def freeze_fork_server(context: StormContext, target: TrainerHandle) -> str:
    """Freeze the fork server: its trainer continues, but its end is not reported until the fork server wakes."""
    return _freeze(context, [target.fork_server], context.random.uniform(1, LEASE_SECONDS + 3))


def kill_supervisor(context: StormContext, target: TrainerHandle) -> str:
    signal_all([target.supervisor], signal.SIGKILL)
    return f"pid {target.supervisor}"


def kill_worker(context: StormContext, target: TrainerHandle) -> str:
    """Kill the main process, with which the others die, or all at once, as when a host is lost."""
    pids = context.random.choice([target.chain[:1], target.chain])
    signal_all(pids, signal.SIGKILL)
    return f"pids {pids}"


def freeze_trainer(context: StormContext, target: TrainerHandle) -> str:
    """Freeze the trainer for a moment, for longer than a lease, or until it counts as stalled."""
    seconds = context.random.choice([1.5, LEASE_SECONDS + 2, STALL_SECONDS + 5])
    return _freeze(context, [target.pid], seconds)


def freeze_supervisor(context: StormContext, target: TrainerHandle) -> str:
    return _freeze(context, [target.supervisor], context.random.uniform(1, LEASE_SECONDS + 3))


def freeze_worker(context: StormContext, target: TrainerHandle) -> str:
    """Freeze a whole worker for longer than the lease: another worker has the job when it wakes."""
    return _freeze(context, target.chain, LEASE_SECONDS + context.random.uniform(2, 4))


def drain_worker(context: StormContext, target: TrainerHandle) -> str:
    signal_all([target.worker], signal.SIGTERM)
    return f"pid {target.worker}"


def kill_api(context: StormContext) -> str:
    """Kill an API while it handles a submission, if a job is left to submit."""
    context.pool.submit(context.submit_one)
    time.sleep(context.random.uniform(0, 0.06))
    return _kill(context, "api")


def kill_relay(context: StormContext) -> str:
    return _kill(context, "relay")


def freeze_relay(context: StormContext) -> str:
    pids = _pids(context, "relay")
    return _freeze(context, pids[: context.random.choice([1, 2])], context.random.uniform(1, LEASE_SECONDS + 3))


def kill_postgres(context: StormContext) -> str:
    assert context.infrastructure.postgres is not None
    return _restart(context, context.infrastructure.postgres)


def kill_broker(context: StormContext) -> str:
    assert context.infrastructure.broker is not None
    return _restart(context, context.infrastructure.broker)


def flush_broker(context: StormContext) -> str:
    """Delete every message."""
    if context.infrastructure.broker is not None:
        servers.flush(context.infrastructure.broker)
        return "FLUSHALL"
    messages = list((context.infrastructure.settings.queue_dir / "messages").glob("*"))
    for path in messages:
        path.unlink(missing_ok=True)
    return f"{len(messages)} messages"


def reset_database(context: StormContext) -> str:
    return _reset(context.infrastructure.database_proxy)


def cut_database(context: StormContext) -> str:
    return _cut(context, context.infrastructure.database_proxy)


def stall_database(context: StormContext) -> str:
    return _stall(context, context.infrastructure.database_proxy)


def black_hole_database(context: StormContext) -> str:
    """Drop all bytes for half a lease, or for nearly two."""
    proxy, seconds = context.infrastructure.database_proxy, context.random.choice([0.5, 1.8]) * LEASE_SECONDS
    assert proxy is not None
    include_new = context.random.random() < 0.5
    proxy.black_hole(seconds, include_new=include_new)
    return f"{seconds:.1f} s, {'all' if include_new else 'existing'}"


def reset_broker(context: StormContext) -> str:
    return _reset(context.infrastructure.broker_proxy)


def cut_broker(context: StormContext) -> str:
    return _cut(context, context.infrastructure.broker_proxy)


def stall_broker(context: StormContext) -> str:
    return _stall(context, context.infrastructure.broker_proxy)


def black_hole_broker(context: StormContext) -> str:
    """Leave open connections half-open until their owners notice."""
    assert context.infrastructure.broker_proxy is not None
    context.infrastructure.broker_proxy.black_hole()
    return "existing, for ever"


def cancel(context: StormContext, target: TrainerHandle) -> str:
    context.clients.cancels_sent.add(target.job_id)
    status = _request(context, target.job_id, "cancel")
    if status in _ACCEPTED:
        context.clients.cancels_promised.add(target.job_id)
    return f"answered {status}"


def pause(context: StormContext, target: TrainerHandle) -> str:
    """Pause the job; the storm resumes it later."""
    context.paused.add(target.job_id)
    return f"answered {_request(context, target.job_id, 'pause')}"


def save_now(context: StormContext, target: TrainerHandle) -> str:
    return f"answered {_request(context, target.job_id, 'checkpoints')}"


_SERVERS: Final[tuple[Profile, ...]] = ("production",)

TARGETED: Final[dict[str, TargetedFault]] = {
    "kill trainer": TargetedFault(14, kill_trainer),
    "kill fork server": TargetedFault(4, kill_fork_server),
    "kill supervisor": TargetedFault(6, kill_supervisor),
    "kill worker": TargetedFault(8, kill_worker),
    "freeze trainer": TargetedFault(4, freeze_trainer),
    "freeze fork server": TargetedFault(2, freeze_fork_server),
    "freeze supervisor": TargetedFault(3, freeze_supervisor),
    "freeze worker": TargetedFault(6, freeze_worker),
    "drain worker": TargetedFault(5, drain_worker),
    "cancel": TargetedFault(3, cancel),
    "pause": TargetedFault(4, pause),
    "save now": TargetedFault(3, save_now),
}
SHARED: Final[dict[str, SharedFault]] = {
    "kill api": SharedFault(8, kill_api),
    "kill relay": SharedFault(6, kill_relay),
    "freeze relay": SharedFault(4, freeze_relay),
    "flush broker": SharedFault(4, flush_broker),
    "kill postgres": SharedFault(6, kill_postgres, _SERVERS),
    "kill broker": SharedFault(4, kill_broker, _SERVERS),
    "reset database": SharedFault(4, reset_database, _SERVERS),
    "cut database": SharedFault(3, cut_database, _SERVERS),
    "stall database": SharedFault(3, stall_database, _SERVERS),
    "black-hole database": SharedFault(3, black_hole_database, _SERVERS),
    "reset broker": SharedFault(3, reset_broker, _SERVERS),
    "cut broker": SharedFault(2, cut_broker, _SERVERS),
    "stall broker": SharedFault(2, stall_broker, _SERVERS),
    "black-hole broker": SharedFault(3, black_hole_broker, _SERVERS),
}


def plan(rng: random.Random, profile: Profile, count: int) -> list[str]:
    """Return the names of `count` faults, drawn by weight from those of the profile."""
    weights = {name: fault.weight for name, fault in TARGETED.items()}
    weights |= {name: fault.weight for name, fault in SHARED.items() if profile in fault.profiles}
    return rng.choices(list(weights), list(weights.values()), k=count)


def _request(context: StormContext, job_id: str, what: str) -> int | str:
    try:
        return context.caller.ask(job_id, what)
    except UnansweredError as error:
        return str(error)


def _freeze(context: StormContext, pids: list[int], seconds: float) -> str:
    signal_all(pids, signal.SIGSTOP)
    context.schedule(seconds, lambda: signal_all(pids, signal.SIGCONT))
    return f"pids {pids}, {seconds:.1f} s"


def _pids(context: StormContext, role: Role) -> list[int]:
    pids = [member.pid for member in context.fleet.of(role)]
    context.random.shuffle(pids)
    return [pid for pid in pids if pid is not None]


def _kill(context: StormContext, role: Role) -> str:
    pids = _pids(context, role)[:1]
    signal_all(pids, signal.SIGKILL)
    return f"pids {pids}"


def _restart(context: StormContext, server: servers.FaultyServer) -> str:
    server.kill()
    seconds = context.random.uniform(0.5, 2)
    time.sleep(seconds)
    server.start()
    return f"away for {seconds:.1f} s"


def _reset(proxy: Proxy | None) -> str:
    assert proxy is not None
    open_ones = proxy.connections
    proxy.reset()
    return f"{open_ones} connections"


def _cut(context: StormContext, proxy: Proxy | None) -> str:
    assert proxy is not None
    count = context.random.choice([1, 20, 200])
    proxy.cut_after(count)
    return f"after {count} bytes"


def _stall(context: StormContext, proxy: Proxy | None) -> str:
    assert proxy is not None
    seconds = context.random.choice([0.4, 1.5]) * LEASE_SECONDS
    proxy.stall(seconds)
    return f"{seconds:.1f} s"
