"""What is compared, and the limits that it should keep to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.benchmarks.sides import Answer, Sides, recorded

#: One turn of one side in a round.
Turn = Callable[[], Answer]

PLAIN = {"ours": "ours", "stock": "stock", "django-galera": "django-galera"}
CLOSED = {name: f"{name}, connections closed" for name in PLAIN}
SECONDS = 0.15  # of one side in one round
CROWDED = 1.0  # the same where eight threads are at work
PAIRS = 30  # of a read behind a write, and one without, in one round
APPLIED = 0.01  # seconds after a write: no browser's next request comes sooner


@dataclass(frozen=True)
class Limits:
    """What the ratios of ours to the base may be at most; None: nothing is demanded.

    ``throughput``: what it must be at least.
    """

    calls: float | None = None
    cpu: float | None = None
    elapsed: float | None = None
    throughput: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the table has it.
        view: of tests.benchmarks.views.
        limits: of the ratios.
        sides: the names of the columns, and which of the sides each is; all but ``mysqlclient``,
            which is in the table if ``floor`` says so.
        base: the column that the ratios are to.
        floor: mysqlclient alone sends what the base does.
        turns: makes what each side does in one round, by column.
    """

    name: str
    view: str
    limits: Limits = Limits()
    sides: Mapping[str, str] = field(default_factory=lambda: PLAIN)
    base: str = "stock"
    floor: bool = True
    turns: Callable[[Row, Sides], dict[str, Turn]] = field(default=lambda r, s: rounds(r, s))


def rounds(row: Row, sides: Sides) -> dict[str, Turn]:
    """The view again and again."""

    def turn(side: str) -> Turn:
        return lambda: sides[side].do("round", view=row.view, seconds=SECONDS)

    turns = {column: turn(side) for column, side in row.sides.items()}
    if row.floor:
        requests = recorded(sides.cluster, sides[row.sides[row.base]], row.view)
        turns["mysqlclient"] = lambda: sides["mysqlclient"].do(
            "round", requests=requests, seconds=SECONDS
        )
    return turns


def crowds(row: Row, sides: Sides) -> dict[str, Turn]:
    """Eight threads; ``lost`` are saves that another one has undone unseen."""

    def turn(side: str) -> Turn:
        def run() -> Answer:
            before = _stock(sides)
            answer = sides[side].do("threads", view=row.view, threads=8, seconds=CROWDED)
            return {**answer, "lost": answer["done"] - (_stock(sides) - before)}

        return run

    return {column: turn(side) for column, side in row.sides.items()}


def writers(row: Row, sides: Sides) -> dict[str, Turn]:
    """Eight threads, each of whose requests changes the row; none is lost."""

    def turn(side: str) -> Turn:
        return lambda: sides[side].do("threads", view=row.view, threads=8, seconds=CROWDED)

    return {column: turn(side) for column, side in row.sides.items()}


def _stock(sides: Sides) -> int:
    node = sides.cluster.nodes[0]
    node.wait_applied()
    ((stock,),) = node.query(f"SELECT stock FROM {sides.cluster.database}.shop_book")
    return int(str(stock))


def behind_a_write(writer: str, pause: float) -> Callable[[Row, Sides], dict[str, Turn]]:
    """A read with the cookies of a write, and the same without them, in turn.

    Args:
        writer: the side that has written.
        pause: seconds between the write and the read.
    """

    def turns(row: Row, sides: Sides) -> dict[str, Turn]:
        def turn(with_token: bool) -> Turn:
            return lambda: _reads(row.view, sides, writer, pause, with_token)

        return {"ours": turn(True), "without": turn(False)}

    return turns


def _reads(view: str, sides: Sides, writer: str, pause: float, with_token: bool) -> Answer:
    total = {"cpu": 0.0, "elapsed": 0.0}
    for _ in range(PAIRS):
        cookie = sides[writer].do("ask", view="one_write")["cookie"]
        time.sleep(pause)
        answer = sides["ours"].do("ask", view=view, cookie=cookie if with_token else "")
        for key in total:
            total[key] += answer[key] / PAIRS
    return total


def memory(row: Row, sides: Sides) -> dict[str, Turn]:
    """A new process each time."""

    def turn(name: str) -> Turn:
        def run() -> Answer:
            with sides.fresh(name) as side:
                side.do("ask", view="one_read")
                return side.do("memory", view=row.view)

        return run

    return {column: turn(side) for column, side in row.sides.items()}


_SAVE = "five_reads_and_a_save"
_OPTIMISTIC = {**PLAIN, "ours": "ours, optimistic"}
_TOKEN = {"ours": "ours", "without": "ours, no middleware"}
_MANY = Limits(cpu=1.03)
_MEMORY = Limits(memory=1.05)
_CROWD = Limits(cpu=1.3, throughput=0.9)
_READ = Limits(cpu=1.10, elapsed=1.15)

ROWS = (
    Row("no query", "no_query", Limits(1.10, 0.65, 0.40)),
    Row("10 reads", "ten_reads", Limits(1.06, 1.00, 1.00)),
    Row("1,000 rows as objects", "thousand_objects", Limits(1.01, 1.02, 1.02)),
    Row("1,000 rows, values_list", "thousand_values", Limits(1.01, 1.02, 1.02)),
    Row("5 reads and a save, first time", _SAVE, Limits(1.35, 1.25, 1.30), _OPTIMISTIC),
    Row("5 reads and a save, learned", _SAVE, Limits(1.08, 1.00, 0.95)),
    Row("one write in atomic()", "one_write_in_a_block", Limits(1.15, 1.05, 1.05)),
    Row("one write outside", "one_write_outside", Limits(1.15, 1.15, 1.15)),
    Row("one read outside", "one_read_outside", Limits(1.10, 1.02, 1.02)),
    Row("100,000 rows as a list", "many_objects", _MANY),
    Row("100,000 rows, values_list", "many_values", _MANY),
    Row("100,000 rows, iterator", "many_iterated", _MANY),
    Row(
        "first read after one's write, same worker", "one_read", _READ,
        {"ours": "ours"}, "without", turns=behind_a_write("ours", APPLIED),
    ),
    Row(
        "first read after one's write, another worker", "one_read", _READ,
        {"ours": "ours"}, "without", turns=behind_a_write("ours, another", APPLIED),
    ),
    Row(
        "the same, another worker, at once", "one_read", Limits(),
        {"ours": "ours"}, "without", turns=behind_a_write("ours, another", 0),
    ),
    Row(
        "a request that writes: its token", "one_write", Limits(1.02, 1.02, 1.02),
        _TOKEN, "without", floor=False,
    ),
    Row("8 threads save one row, galera_atomic", "galera_atomic", _CROWD, turns=crowds),
    Row("8 threads save one row, in a request", "save_one_row", _CROWD, turns=crowds),
    Row("8 threads change one row, in a request", "one_write", _CROWD, turns=writers),
    Row("CONN_MAX_AGE=0, no query", "no_query", Limits(cpu=0.40), CLOSED, floor=False),
    Row("CONN_MAX_AGE=0, 10 reads", "ten_reads", Limits(cpu=1.00), CLOSED, floor=False),
    Row("peak memory, 100,000 rows as a list", "many_objects", _MEMORY, turns=memory),
    Row("peak memory, 100,000 rows, values_list", "many_values", _MEMORY, turns=memory),
    Row("peak memory, 100,000 rows, iterator", "many_iterated", _MEMORY, turns=memory),
)  # fmt: skip
COUNTED = tuple(row for row in ROWS if row.limits.calls is not None)


def calls(row: Row, sides: Sides) -> dict[str, int]:
    """The calls of one request on ours and on the base."""
    columns = {"ours": row.sides["ours"], row.base: row.sides[row.base]}
    return {
        column: int(sides[side].do("calls", view=row.view)["calls"])
        for column, side in columns.items()
    }
