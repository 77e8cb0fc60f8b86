"""Carry out what the schedule says."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import MySQLdb

from galera_router.testing import ClusterError, GaleraCluster
from tests.chaos import heavy, light
from tests.chaos.children import Crew
from tests.chaos.plan import HEAVY, LASTING, Strike
from tests.chaos.target import Target
from tests.chaos.ways import Way

AFTERMATH = 0.5  # seconds after a light fault in which a pause is put down to it
HEAL = 90.0  # seconds


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


class Faults:
    """Strikes when it is time; one thread for each track.

    Args:
        ways: by the name of the node to which each leads.
        crew: the client processes.
        say: told of everything that happens.
    """

    def __init__(
        self,
        cluster: GaleraCluster,
        ways: Mapping[str, Way],
        crew: Crew,
        say: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.ways = ways
        self.crew = crew
        self.say = say
        self.windows: list[Window] = []
        self.over = threading.Event()  # may be set from outside, to end the run early
        self.striking: Window | None = None

    def run(self, strikes: Sequence[Strike], seconds: float) -> None:
        """Carry out all ``strikes``; returns after ``seconds``, when the cluster is whole."""
        start = time.monotonic()
        lighter = [strike for strike in strikes if strike.kind not in HEAVY]
        beside = threading.Thread(target=self._light, args=(start, lighter), daemon=True)
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
                for name in strike.nodes or ("",):
                    stack.enter_context(heavy.FAULTS[strike.kind](self._target(strike, name)))
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
            begin = time.monotonic()
            struck = self._light_one(strike)
            now = time.monotonic()
            begin = begin if strike.kind in LASTING else now - AFTERMATH / 10
            self.windows.append(Window(strike, begin, now + AFTERMATH, struck))

    def _light_one(self, strike: Strike) -> bool:
        """One light fault; returns True if it hit somebody, and not a node that is away."""
        name = strike.nodes[0] if strike.nodes else ""
        try:
            return light.FAULTS[strike.kind](self._target(strike, name))
        except MySQLdb.Error:
            return False

    def _target(self, strike: Strike, name: str) -> Target:
        return Target(strike, name, self.cluster, self.ways, self.crew)
