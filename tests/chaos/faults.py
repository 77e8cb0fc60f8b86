"""Carry out what the schedule says."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import MySQLdb

from galera_router.testing import ClusterError, GaleraCluster, GaleraNode, Proxy
from tests.chaos.plan import HEAVY, Strike

COMMIT = r"\bCOMMIT\b"
WRITE = r"\b(INSERT|UPDATE)\b"
FIRE = 1.5  # seconds that a trap waits for something to be caught
AFTERMATH = 0.5  # seconds after a light fault in which a pause is put down to it
HEAL = 90.0  # seconds
TRAPS = 4  # statements of different connections that one hanging fault swallows


@dataclass(frozen=True)
class Window:
    """A fault that has struck: from ``begin`` to ``end``, monotonic seconds.

    ``error`` says why it could not be carried out, or not undone.
    """

    strike: Strike
    begin: float
    end: float
    struck: bool = True
    error: str = ""


Fault = Callable[[GaleraNode, Proxy], AbstractContextManager[None]]


@contextmanager
def kill(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    node.kill()
    yield
    node.start(wait=False)


@contextmanager
def freeze(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    node.freeze()
    yield
    node.thaw()


@contextmanager
def stop(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    node.stop(wait=False)
    yield
    node.stop()
    node.start(wait=False)


@contextmanager
def isolate(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    node.isolate()
    yield
    node.rejoin()


@contextmanager
def reject(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    node.reject_queries()
    yield
    node.accept_queries()


@contextmanager
def hold_applier(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    with node.hold_applier():
        yield


@contextmanager
def black_hole(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    proxy.black_hole()
    yield
    proxy.restore()


@contextmanager
def refuse(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    proxy.refuse()
    proxy.cut()
    yield
    proxy.accept()


@contextmanager
def swallow_and_hang(node: GaleraNode, proxy: Proxy) -> Iterator[None]:
    """Connections whose COMMIT was carried out hang; in the end the network gives them up."""
    rule = proxy.swallow(COMMIT, times=TRAPS)
    yield
    rule.cancel()
    proxy.cut()


_HEAVY: dict[str, Fault] = {
    "kill": kill,
    "freeze": freeze,
    "stop": stop,
    "isolate": isolate,
    "reject": reject,
    "hold-applier": hold_applier,
    "black-hole": black_hole,
    "refuse": refuse,
    "swallow-and-hang": swallow_and_hang,
}
assert _HEAVY.keys() == HEAVY.keys()


class Faults:
    """Strikes when it is time; one thread for each track.

    Args:
        proxies: by the name of the node behind each.
        say: told of everything that happens.
    """

    def __init__(
        self, cluster: GaleraCluster, proxies: Mapping[str, Proxy], say: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.proxies = proxies
        self.say = say
        self.windows: list[Window] = []
        self.over = threading.Event()  # may be set from outside, to end the run early
        self.striking: Window | None = None

    def run(self, strikes: Sequence[Strike], seconds: float) -> None:
        """Carry out all ``strikes``; returns after ``seconds``, when the cluster is whole."""
        start = time.monotonic()
        light = [strike for strike in strikes if strike.kind not in HEAVY]
        beside = threading.Thread(target=self._light, args=(start, light), daemon=True)
        beside.start()
        try:
            for strike in strikes:
                if strike.kind in HEAVY:
                    if self.over.wait(max(0.0, start + strike.at - time.monotonic())):
                        return
                    self.heavy(strike, start)
            self.over.wait(max(0.0, start + seconds - time.monotonic()))
        finally:
            self.over.set()
            beside.join()

    def heavy(self, strike: Strike, start: float) -> None:
        """One heavy fault, and the recovery from it."""
        begin, errors = time.monotonic(), []
        self.striking = Window(strike, begin, math.inf)
        self.say(f"{begin - start:6.1f} s  {str(strike)[10:]}")
        try:
            with ExitStack() as stack:
                for name in strike.nodes:
                    fault = _HEAVY[strike.kind]
                    stack.enter_context(fault(self.cluster[name], self.proxies[name]))
                self.over.wait(strike.seconds)
        except (MySQLdb.Error, ClusterError) as error:
            errors.append(str(error))
        self.cluster.heal(HEAL)
        end = time.monotonic()
        self.say(f"{end - start:6.1f} s  whole again" + "".join(f" ({e})" for e in errors))
        self.windows.append(Window(strike, begin, end, error="; ".join(errors)))
        self.striking = None

    def _light(self, start: float, strikes: Sequence[Strike]) -> None:
        for strike in strikes:
            if self.over.wait(max(0.0, start + strike.at - time.monotonic())):
                return
            proxy = self.proxies[strike.nodes[0]]
            struck = _light(strike, proxy)
            now = time.monotonic()
            self.windows.append(Window(strike, now - AFTERMATH / 10, now + AFTERMATH, struck))


def _light(strike: Strike, proxy: Proxy) -> bool:
    """One light fault; whether it hit anybody."""
    if strike.kind == "cut":
        there = proxy.connections
        proxy.cut()
        return there > 0
    if strike.kind == "cut-at":
        rule = proxy.cut_at(strike.number)
    elif strike.kind == "drop-commit":
        rule = proxy.drop(COMMIT, cut=True)
    else:
        pattern = COMMIT if strike.kind == "swallow-commit" else WRITE
        rule = proxy.swallow(pattern, cut=True)
    fired = rule.wait(FIRE)
    rule.cancel()
    return fired
