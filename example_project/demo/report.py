"""The figures at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.tally import Tally

SHOWN = 10  # complaints of one kind


@dataclass(frozen=True)
class Report:
    """All that is known after the show; ``books`` has the complaints of each node's audit."""

    tally: Tally
    seconds: float
    failovers: int
    shares: dict[str, float]
    books: dict[str, list[str]]
    nodes_equal: bool
    log: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nobody saw an error and the books balance on every node."""
        return not self.tally.errors and self.nodes_equal and not any(self.books.values())

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield from self._visitors()
        yield from self._cluster()
        yield from self._audit()
        yield ""
        yield "All well." if self.good else "Not all is well."

    def _visitors(self) -> Iterator[str]:
        tally, told = self.tally, [asked.outcome for asked in self.tally.asked]
        rate = tally.requests / self.seconds
        yield f"requests        {tally.requests} in {self.seconds:.0f} s, {rate:.0f} a second"
        yield f"errors          {tally.errors.total()}"
        for kind, count in tally.errors.most_common():
            yield f"                {count} x {kind}"
        yield f"transfers       {told.count('made')} made, {told.count('refused')} refused rightly"
        yield f"asked again     {tally.asked_again} (commit in doubt: the same reference once more)"
        yield f"late receipts   {tally.late} (not there at once, but a moment later)"
        pause = tally.pause
        yield f"longest pause   {pause.seconds:.2f} s, {pause.what}, at {pause.at:.1f} s"

    def _cluster(self) -> Iterator[str]:
        shares = (f"{name} {share:.0%}" for name, share in self.shares.items())
        yield f"failovers       {self.failovers}"
        yield f"SELECTs         {', '.join(shares)}"

    def _audit(self) -> Iterator[str]:
        for name, found in self.books.items():
            yield f"books on {name:<6} {f'{len(found)} complaints' if found else 'right'}"
            yield from (f"                {complaint}" for complaint in found[:SHOWN])
        yield f"nodes           {'hold the same' if self.nodes_equal else 'DIFFER'}"
        if not self.good and self.log:
            yield "from the server's log:"
            for line, count in list(self.log.items())[:SHOWN]:
                yield f"                {count} x {line}"
