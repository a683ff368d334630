"""The faults that a storm draws from: what each does to a service, and on which profile it can."""

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
from tests.faults.fleet import LEASE_SECONDS, STALL_SECONDS, Fleet, Ground, Profile, Role
from tests.faults.history import ToldStatus
from tests.faults.processes import TrainerHandle, signal_all
from tests.faults.proxy import Proxy

_ACCEPTED: Final = (200, 202)


@dataclass
class Scene:
    """What a fault may touch."""

    ground: Ground
    fleet: Fleet
    caller: LoadCaller
    told: ToldStatus
    hands: ThreadPoolExecutor
    """Threads for what is to happen while something else is done."""
    seed: InitVar[int]
    submit_one: Callable[[], object] = lambda: None
    """Submit the next job, if one is left."""
    paused: set[str] = field(default_factory=set)
    random: random.Random = field(init=False)
    _timers: list[threading.Timer] = field(default_factory=list)

    def __post_init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it after a while; whoever ends the storm waits for it."""
        timer = threading.Timer(seconds, action)
        self._timers.append(timer)
        timer.start()

    def settle(self) -> None:
        """Wait until all that was put off is done."""
        for timer in self._timers:
            timer.join()


@dataclass(frozen=True)
class Aimed:
    """A fault that strikes the trainer of one job, or a process above it, in mid-training. Drawn by its weight."""

    weight: int
    strike: Callable[[Scene, TrainerHandle], str]
    """What it did, in words."""


@dataclass(frozen=True)
class Shared:
    """A fault that all jobs have in common."""

    weight: int
    strike: Callable[[Scene], str]
    profiles: tuple[Profile, ...] = ("embedded", "production")


def kill_trainer(scene: Scene, victim: TrainerHandle) -> str:
    signal_all([victim.pid], signal.SIGKILL)
    return f"pid {victim.pid}"


def kill_fork_server(scene: Scene, victim: TrainerHandle) -> str:
    """Which takes its trainer along."""
    signal_all([victim.fork_server], signal.SIGKILL)
    return f"pid {victim.fork_server}"


def freeze_fork_server(scene: Scene, victim: TrainerHandle) -> str:
    """Its trainer goes on, and nobody hears how it ends until it wakes."""
    return _freeze(scene, [victim.fork_server], scene.random.uniform(1, LEASE_SECONDS + 3))


def kill_supervisor(scene: Scene, victim: TrainerHandle) -> str:
    signal_all([victim.supervisor], signal.SIGKILL)
    return f"pid {victim.supervisor}"


def kill_worker(scene: Scene, victim: TrainerHandle) -> str:
    """Kill the main process, which takes the others along, or all at once, like a lost host."""
    pids = scene.random.choice([victim.chain[:1], victim.chain])
    signal_all(pids, signal.SIGKILL)
    return f"pids {pids}"


def freeze_trainer(scene: Scene, victim: TrainerHandle) -> str:
    """For a moment, for longer than a lease, or for so long that it counts as stalled."""
    seconds = scene.random.choice([1.5, LEASE_SECONDS + 2, STALL_SECONDS + 5])
    return _freeze(scene, [victim.pid], seconds)


def freeze_supervisor(scene: Scene, victim: TrainerHandle) -> str:
    return _freeze(scene, [victim.supervisor], scene.random.uniform(1, LEASE_SECONDS + 3))


def freeze_worker(scene: Scene, victim: TrainerHandle) -> str:
    """All of them for longer than the lease: zombies, whose job is another's when they wake."""
    return _freeze(scene, victim.chain, LEASE_SECONDS + scene.random.uniform(2, 4))


def drain_worker(scene: Scene, victim: TrainerHandle) -> str:
    signal_all([victim.worker], signal.SIGTERM)
    return f"pid {victim.worker}"


def kill_api(scene: Scene) -> str:
    """While it is asked to take a job, if there is one left."""
    scene.hands.submit(scene.submit_one)
    time.sleep(scene.random.uniform(0, 0.06))
    return _kill(scene, "api")


def kill_relay(scene: Scene) -> str:
    return _kill(scene, "relay")


def freeze_relay(scene: Scene) -> str:
    pids = _pids(scene, "relay")
    return _freeze(scene, pids[: scene.random.choice([1, 2])], scene.random.uniform(1, LEASE_SECONDS + 3))


def kill_postgres(scene: Scene) -> str:
    assert scene.ground.postgres is not None
    return _restart(scene, scene.ground.postgres)


def kill_broker(scene: Scene) -> str:
    assert scene.ground.broker is not None
    return _restart(scene, scene.ground.broker)


def flush_broker(scene: Scene) -> str:
    """Delete every message."""
    if scene.ground.broker is not None:
        servers.flush(scene.ground.broker)
        return "FLUSHALL"
    messages = list((scene.ground.settings.queue_dir / "messages").glob("*"))
    for path in messages:
        path.unlink(missing_ok=True)
    return f"{len(messages)} messages"


def reset_database(scene: Scene) -> str:
    return _reset(scene.ground.database_proxy)


def cut_database(scene: Scene) -> str:
    return _cut(scene, scene.ground.database_proxy)


def stall_database(scene: Scene) -> str:
    return _stall(scene, scene.ground.database_proxy)


def black_hole_database(scene: Scene) -> str:
    """For half a lease, or for nearly two."""
    proxy, seconds = scene.ground.database_proxy, scene.random.choice([0.5, 1.8]) * LEASE_SECONDS
    assert proxy is not None
    new_ones_too = scene.random.random() < 0.5
    proxy.black_hole(seconds, new_ones_too=new_ones_too)
    return f"{seconds:.1f} s, {'all' if new_ones_too else 'existing'}"


def reset_broker(scene: Scene) -> str:
    return _reset(scene.ground.broker_proxy)


def cut_broker(scene: Scene) -> str:
    return _cut(scene, scene.ground.broker_proxy)


def stall_broker(scene: Scene) -> str:
    return _stall(scene, scene.ground.broker_proxy)


def black_hole_broker(scene: Scene) -> str:
    """Leave open connections half-open until their owners notice."""
    assert scene.ground.broker_proxy is not None
    scene.ground.broker_proxy.black_hole()
    return "existing, for ever"


def cancel(scene: Scene, victim: TrainerHandle) -> str:
    scene.told.cancels_sent.add(victim.job_id)
    status = _asked(scene, victim.job_id, "cancel")
    if status in _ACCEPTED:
        scene.told.cancels_promised.add(victim.job_id)
    return f"answered {status}"


def pause(scene: Scene, victim: TrainerHandle) -> str:
    """And resume after a while."""
    scene.paused.add(victim.job_id)
    return f"answered {_asked(scene, victim.job_id, 'pause')}"


def save_now(scene: Scene, victim: TrainerHandle) -> str:
    return f"answered {_asked(scene, victim.job_id, 'checkpoints')}"


_SERVERS: Final[tuple[Profile, ...]] = ("production",)

AIMED: Final[dict[str, Aimed]] = {
    "kill trainer": Aimed(14, kill_trainer),
    "kill fork server": Aimed(4, kill_fork_server),
    "kill supervisor": Aimed(6, kill_supervisor),
    "kill worker": Aimed(8, kill_worker),
    "freeze trainer": Aimed(4, freeze_trainer),
    "freeze fork server": Aimed(2, freeze_fork_server),
    "freeze supervisor": Aimed(3, freeze_supervisor),
    "freeze worker": Aimed(6, freeze_worker),
    "drain worker": Aimed(5, drain_worker),
    "cancel": Aimed(3, cancel),
    "pause": Aimed(4, pause),
    "save now": Aimed(3, save_now),
}
SHARED: Final[dict[str, Shared]] = {
    "kill api": Shared(8, kill_api),
    "kill relay": Shared(6, kill_relay),
    "freeze relay": Shared(4, freeze_relay),
    "flush broker": Shared(4, flush_broker),
    "kill postgres": Shared(6, kill_postgres, _SERVERS),
    "kill broker": Shared(4, kill_broker, _SERVERS),
    "reset database": Shared(4, reset_database, _SERVERS),
    "cut database": Shared(3, cut_database, _SERVERS),
    "stall database": Shared(3, stall_database, _SERVERS),
    "black-hole database": Shared(3, black_hole_database, _SERVERS),
    "reset broker": Shared(3, reset_broker, _SERVERS),
    "cut broker": Shared(2, cut_broker, _SERVERS),
    "stall broker": Shared(2, stall_broker, _SERVERS),
    "black-hole broker": Shared(3, black_hole_broker, _SERVERS),
}


def plan(rng: random.Random, profile: Profile, count: int) -> list[str]:
    """Return the names of `count` faults, drawn by weight from those of the profile."""
    weights = {name: fault.weight for name, fault in AIMED.items()}
    weights |= {name: fault.weight for name, fault in SHARED.items() if profile in fault.profiles}
    return rng.choices(list(weights), list(weights.values()), k=count)


def _asked(scene: Scene, job_id: str, what: str) -> int | str:
    try:
        return scene.caller.ask(job_id, what)
    except UnansweredError as error:
        return str(error)


def _freeze(scene: Scene, pids: list[int], seconds: float) -> str:
    signal_all(pids, signal.SIGSTOP)
    scene.later(seconds, lambda: signal_all(pids, signal.SIGCONT))
    return f"pids {pids}, {seconds:.1f} s"


def _pids(scene: Scene, role: Role) -> list[int]:
    pids = [member.pid for member in scene.fleet.of(role)]
    scene.random.shuffle(pids)
    return [pid for pid in pids if pid is not None]


def _kill(scene: Scene, role: Role) -> str:
    pids = _pids(scene, role)[:1]
    signal_all(pids, signal.SIGKILL)
    return f"pids {pids}"


def _restart(scene: Scene, server: servers.FaultyServer) -> str:
    server.kill()
    seconds = scene.random.uniform(0.5, 2)
    time.sleep(seconds)
    server.start()
    return f"away for {seconds:.1f} s"


def _reset(proxy: Proxy | None) -> str:
    assert proxy is not None
    open_ones = proxy.connections
    proxy.reset()
    return f"{open_ones} connections"


def _cut(scene: Scene, proxy: Proxy | None) -> str:
    assert proxy is not None
    count = scene.random.choice([1, 20, 200])
    proxy.cut_after(count)
    return f"after {count} bytes"


def _stall(scene: Scene, proxy: Proxy | None) -> str:
    assert proxy is not None
    seconds = scene.random.choice([0.4, 1.5]) * LEASE_SECONDS
    proxy.stall(seconds)
    return f"{seconds:.1f} s"
