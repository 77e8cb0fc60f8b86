"""Which anomalies the graph shows: cycles, the simplest kind first, each told by a short cycle.

Every cycle lies within one strongly connected component, so each of these is looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import networkx as nx

from tests.history.graph import FIRST, Graph
from tests.history.levels import ALLOWED, Kind
from tests.history.versions import Anomaly

TOLD = 20  # anomalies of one kind in one component; beyond that, more say no more
Cycle = list[str]
Follows = Callable[[str, str], bool]

DEPENDS = ("ww", "wr")
SESSION = (*DEPENDS, "session")
ALL = (*SESSION, "token")
ORDER = (*ALL, "rw")


def cycles(graph: Graph) -> Iterator[Anomaly]:
    """Everything that the levels of the transactions do not allow."""
    whole = graph.of(*ALL, "rw")
    if nx.is_directed_acyclic_graph(whole):
        return
    for names in nx.strongly_connected_components(whole):
        if len(names) > 1:
            yield from _Component(graph.part(names)).anomalies()


class _Component:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.told: set[tuple[str, str]] = set()  # rw edges that have been complained about

    def anomalies(self) -> Iterator[Anomaly]:
        for kind, hows in (
            (Kind.G0, ("ww",)),
            (Kind.G1C, DEPENDS),
            (Kind.SESSION, SESSION),
            (Kind.TOKEN, ALL),
        ):
            yield from self._circular(kind, hows)
        for hows in (DEPENDS, SESSION, ALL):
            yield from self._skewed(hows)
        yield from self._forked()
        yield from self._write_skewed()

    # --- without a read that is too old

    def _circular(self, kind: Kind, hows: tuple[str, ...]) -> Iterator[Anomaly]:
        """Cycles of ``hows`` alone; they are taken out, so that what follows finds others."""
        for names in list(nx.strongly_connected_components(self.graph.of(*hows))):
            if len(names) > 1:
                part = self.graph.of(*hows).subgraph(names)
                yield self._tell(kind, _shortest(part), hows)
                self.graph = self.graph.part(set(self.graph.nodes) - names)

    # --- with one such read

    def _skewed(self, hows: tuple[str, ...]) -> Iterator[Anomaly]:
        """Who did not see somebody on whom it depends, as far as that is not allowed to it."""
        depends = self.graph.of(*hows)
        follows = _ancestors(depends)
        told: Counter[Kind] = Counter()
        for reader, writer in self._anti():
            if self._is_told(reader, writer) or not follows(reader, writer):
                continue
            last = self._last(reader, writer, hows, follows)
            kind = self._name(reader, writer, last, hows)
            if kind is not None and told[kind] < TOLD:
                self.told.add((_whole(reader), writer))
                told[kind] += 1
                way = nx.shortest_path(depends, writer, last or reader)
                yield self._tell(kind, [reader, *(way if last else way[:-1])], hows)

    def _last(
        self, reader: str, writer: str, hows: tuple[str, ...], follows: Follows
    ) -> str | None:
        """Whom the reader's session or token has it see, and who depends on the writer."""
        for how in {*hows} - {*DEPENDS}:
            for before in self.graph.before(reader, how):
                if before == writer or follows(before, writer):
                    return before
        return None

    def _name(
        self, reader: str, writer: str, last: str | None, hows: tuple[str, ...]
    ) -> Kind | None:
        """What it is; None if it is allowed. What a session has seen it sees at each level."""
        nodes = self.graph.nodes
        if last is not None:
            one, other = nodes[reader].transaction, nodes[writer].transaction
            is_own = one.session == other.session and other.begin < one.begin
            return Kind.TOKEN if hows == ALL else Kind.OWN_WRITES if is_own else Kind.MONOTONIC
        keys = {why.key for why in self.graph.edges[reader, writer] if why.how == "rw"}
        is_lost = hows == DEPENDS and keys & nodes[reader].wrote & nodes[writer].wrote
        kind = Kind.LOST_UPDATE if is_lost else Kind.G_SINGLE
        return None if kind in ALLOWED[nodes[reader].level] else kind

    def _anti(self) -> Iterator[tuple[str, str]]:
        """The rw edges; a snapshot's before those of the transaction that it is a part of."""
        pairs = (p for p, whys in self.graph.edges.items() if any(w.how == "rw" for w in whys))
        return iter(sorted(pairs, key=lambda pair: not pair[0].endswith(FIRST)))

    def _is_told(self, reader: str, writer: str) -> bool:
        return (_whole(reader), writer) in self.told

    # --- with several such reads

    def _forked(self) -> Iterator[Anomaly]:
        """Cycles in which no two reads that are too old follow each other."""
        binding: dict[tuple[str, str], tuple[str, str]] = {}
        graph: nx.DiGraph[str] = self.graph.of(*ALL)
        for reader, writer in self._anti():
            node = self.graph.nodes[reader]
            if Kind.G_NONADJACENT in ALLOWED[node.level] or self._is_told(reader, writer):
                continue
            for before in list(graph.predecessors(reader)) if reader in graph else []:
                if (before, reader) not in binding.values() and before != writer:
                    binding[before, writer] = (before, reader)
        graph.add_edges_from(binding)
        for names in nx.strongly_connected_components(graph):
            if len(names) > 1:
                cycle = _shortest(graph.subgraph(names))
                self.told |= {(_whole(binding[pair][1]), pair[1]) for pair in binding
                              if names.issuperset(pair)}  # fmt: skip
                yield self._tell(Kind.G_NONADJACENT, _expand(cycle, binding), (*ALL, "rw"))

    def _write_skewed(self) -> Iterator[Anomaly]:
        graph = self.graph.of(*ALL)
        graph.add_edges_from(
            (reader, writer)
            for reader, writer in self._anti()
            if Kind.G2_ITEM not in ALLOWED[self.graph.nodes[reader].level]
            and not self._is_told(reader, writer)
        )
        for names in nx.strongly_connected_components(graph):
            if len(names) > 1:
                yield self._tell(Kind.G2_ITEM, _shortest(graph.subgraph(names)), (*ALL, "rw"))

    def _tell(self, kind: Kind, cycle: Cycle, hows: tuple[str, ...]) -> Anomaly:
        reasons = []
        for one, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            whys = self.graph.edges[one, other]
            best = min(whys, key=lambda why: (why.how not in hows, ORDER.index(why.how), why.key))
            reasons.append(best.words(one, other))
        return Anomaly(kind, tuple(cycle), "; ".join(reasons))


def _whole(name: str) -> str:
    return name.removesuffix(FIRST)


def _ancestors(graph: nx.DiGraph[str]) -> Follows:
    """A function that returns True if there is a way to its first argument from its second."""
    number: dict[str, int] = {}
    above: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        bits = 0
        for before in graph.predecessors(name):
            bits |= above[before] | 1 << number[before]
        number[name], above[name] = len(number), bits
    return lambda name, other: other in number and bool(above.get(name, 0) >> number[other] & 1)


def _shortest(graph: nx.DiGraph[str]) -> Cycle:
    """A shortest cycle of those through the first few nodes."""
    best: Cycle = []
    for name in sorted(graph)[:TOLD]:
        for before in graph.predecessors(name):
            if nx.has_path(graph, name, before):
                path = nx.shortest_path(graph, name, before)
                if not best or len(path) < len(best):
                    best = path
    return best


def _expand(cycle: Cycle, through: dict[tuple[str, str], tuple[str, str]]) -> Cycle:
    """Put in the readers that an edge of the joined graph leads through."""
    found = []
    for one, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        found.append(one)
        if (one, other) in through:
            found.append(through[one, other][1])
    return found
