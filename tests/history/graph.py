"""Which transaction depends on which, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import networkx as nx

from tests.history.history import Append, History, Transaction, Write
from tests.history.levels import Level
from tests.history.versions import Versions

FIRST = "/reads"  # ends the name of a transaction's reads ahead of its first write


@dataclass(frozen=True)
class Why:
    """Why one transaction comes before another.

    ``how``: ``ww`` (wrote the version after), ``wr`` (saw its write), ``rw`` (wrote what it had
    not seen), ``session`` (came later in the same session), ``token`` (was given its token).
    """

    how: str
    key: str = ""

    def words(self, one: str, other: str) -> str:
        return {
            "ww": f"{other} wrote {self.key} after {one}",
            "wr": f"{other} saw what {one} wrote to {self.key}",
            "rw": f"{one} did not see what {other} wrote to {self.key}",
            "session": f"{other} came after {one} in its session",
            "token": f"{other} had been given the token of {one}",
        }[self.how]


@dataclass
class Node:
    """A transaction, or its reads ahead of its first write, which are a snapshot of their own."""

    transaction: Transaction
    level: Level
    wrote: frozenset[str]


@dataclass
class Graph:
    """The nodes by name, and the reasons for each edge."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], set[Why]] = field(default_factory=lambda: defaultdict(set))

    _before: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, one: str, other: str, why: Why) -> None:
        if one != other and why not in self.edges[one, other]:
            self.edges[one, other].add(why)
            self._before[other, why.how].append(one)

    def of(self, *hows: str) -> nx.DiGraph[str]:
        """The edges for which one of these is a reason."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_edges_from(
            pair for pair, whys in self.edges.items() if any(why.how in hows for why in whys)
        )
        return graph

    def before(self, name: str, how: str) -> list[str]:
        """From whom an edge of that kind leads to ``name``."""
        return self._before.get((name, how), [])

    def part(self, names: set[str]) -> Graph:
        """The same without all other nodes."""
        part = Graph({name: self.nodes[name] for name in names})
        for (one, other), whys in self.edges.items():
            if one in names and other in names:
                for why in whys:
                    part.add(one, other, why)
        return part


def build(history: History, known: Versions) -> Graph:
    """The graph of all transactions that have been committed."""
    graph = Graph()
    split = _nodes(graph, known)
    _reads(graph, known, split)
    for key, order in known.next.items():
        for version, values in order.items():
            for value in values:
                _written(graph, known, key, version, value)
    for one, other in _sessions(history, known):
        _order(graph, one, other, Why("session"))
    for one, other in _tokens(history, known):
        _order(graph, one, other, Why("token"))
    return graph


def _order(graph: Graph, one: str, other: str, why: Why) -> None:
    """``other`` comes after ``one``, and so do its first reads."""
    for name in (other, other + FIRST):
        if name in graph.nodes:
            graph.add(one, name, why)


def _nodes(graph: Graph, known: Versions) -> set[str]:
    """Enter the nodes; returns the names of those with first reads of their own."""
    for name, one in known.alive.items():
        wrote = frozenset(op.key for op in one.ops if isinstance(op, Append | Write))
        graph.nodes[name] = Node(one, one.level, wrote)
    weak = {Level.READ_COMMITTED, Level.REPEATABLE_READ}
    first: dict[str, int] = defaultdict(int)
    for seen in known.seen:
        first[seen.reader] += seen.first
    split = {
        name for name, reads in first.items()
        if reads > 1 and known.alive[name].level in weak and known.alive[name].writes
    }  # fmt: skip
    for name in split:
        graph.nodes[name + FIRST] = Node(known.alive[name], Level.SNAPSHOT, frozenset())
        graph.add(name + FIRST, name, Why("session"))
    return split


def _reads(graph: Graph, known: Versions, split: set[str]) -> None:
    for seen in known.seen:
        names = [seen.reader]
        if seen.first and seen.reader in split:
            names.append(seen.reader + FIRST)
        for name in names:
            if seen.version is not None:
                writer = known.writers[seen.key][seen.version].name
                if writer != seen.reader:
                    graph.add(writer, name, Why("wr", seen.key))
            for value in known.next.get(seen.key, {}).get(seen.version, ()):
                after = known.writers[seen.key][value].name
                if after != seen.reader and after in graph.nodes:
                    graph.add(name, after, Why("rw", seen.key))


def _written(graph: Graph, known: Versions, key: str, version: str | None, value: str) -> None:
    if version is None:
        return
    one, other = known.writers[key][version].name, known.writers[key][value].name
    if one in graph.nodes and other in graph.nodes:
        graph.add(one, other, Why("ww", key))


def _is_told(known: Versions, name: str) -> bool:
    return name in known.alive and known.alive[name].outcome == "committed"


def _sessions(history: History, known: Versions) -> Iterator[tuple[str, str]]:
    """Of each session, each transaction and the next; those of unknown outcome have no place."""
    last: dict[str, str] = {}
    for one in sorted(history.transactions, key=lambda one: one.begin):
        if _is_told(known, one.name):
            if one.session in last:
                yield last[one.session], one.name
            last[one.session] = one.name


def _tokens(history: History, known: Versions) -> Iterator[tuple[str, str]]:
    """Each transaction whose token was given away, and who was given it."""
    for one in history.transactions:
        for before in one.after:
            if one.name in known.alive and _is_told(known, before):
                yield before, one.name
