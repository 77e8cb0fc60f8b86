"""What the clients were told, against what a node holds. Pure: rows in, complaints out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.chaos.books import Books, Row
from tests.chaos.config import OPENING, TOTAL
from tests.chaos.ledger import Operation

NOTHING = {"raised", "conflict", "impossible"}  # told of what must have left nothing


def complaints(books: Books, operations: Sequence[Operation]) -> list[str]:
    """Everything that is wrong with the books of one node."""
    return [
        *_tokens(books, operations),
        *_halves(books, operations),
        *_keys(books, operations),
        *_money(books),
        *_steps(books),
        *_changes(books, "account", OPENING),
        *_changes(books, "counter", 0),
        *_changes(books, "page", 0),
        *_changes(books, "tally", 0),
        *_sales(books),
        *_papers(books),
    ]


def _tokens(books: Books, operations: Sequence[Operation]) -> Iterator[str]:
    there = books.tokens()
    removers = {row: one for one in operations for row in one.removes}
    for operation in operations:
        for row in operation.expect:
            times = there.pop(row, 0)
            if row in removers:
                yield from _removed(removers[row], row[0], times)
            else:
                yield from _token(operation, row[0], times)
        for row in operation.may:
            yield from _won(operation, row, there.pop(row, 0))
    for (table, token), times in there.items():
        yield f"doubled or undone: {table} {token} is there {times} times, asked for by nobody"


def _token(operation: Operation, table: str, times: int) -> Iterator[str]:
    if times > 1:
        yield f"doubled: {operation} is there {times} times ({table})"
    elif operation.told in {"done", "wrong"} and not times:
        yield f"lost: {operation} is not there ({table})"
    elif operation.told in NOTHING and times:
        yield f"raised, and yet there: {operation} ({table})"
    elif operation.told in {"doubt", "unheard"}:
        yield f"in doubt: {operation} is {'there' if times else 'not there'} ({table})"


def _won(operation: Operation, row: tuple[str, str], times: int) -> Iterator[str]:
    """A row that the operation may have won: then it is there, else it is not."""
    if operation.told != "done" or row in operation.won:
        yield from () if operation.told == "unknown" else _token(operation, row[0], times)
    elif times:
        yield f"not won, and yet there: {operation} ({row[0]})"


def _removed(remover: Operation, table: str, times: int) -> Iterator[str]:
    """A row that was there, as its client was told, and that ``remover`` was to remove."""
    if times > 1:
        yield f"doubled: what {remover} removes is there {times} times ({table})"
    elif remover.told == "done" and times:
        yield f"lost: {remover} has not removed what it removes ({table})"
    elif remover.told in NOTHING and not times:
        yield f"raised, and yet removed: {remover} ({table})"
    elif remover.told in {"doubt", "unheard"}:
        yield f"in doubt: {remover} has {'not ' * bool(times)}removed ({table})"


def _halves(books: Books, operations: Sequence[Operation]) -> Iterator[str]:
    """Nobody knows whether it was done, but if it was, then all of it was."""
    there = books.tokens()
    for one in operations:
        is_whole = one.told == "unknown" or (one.told == "interrupted" and one.atomic)
        if is_whole and len({bool(there[row]) for row in one.expect}) > 1:
            yield f"half done: {one}"


def _sales(books: Books) -> Iterator[str]:
    """Each ticket is sold to one buyer; only the lock of its row sees to that."""
    buyers: dict[int, list[str]] = defaultdict(list)
    for _, token, ticket in books.tables["sale"]:
        buyers[ticket].append(token)
    for ticket, tokens in buyers.items():
        if len(tokens) > 1:
            yield f"sold twice: ticket {ticket} to {' and '.join(tokens)}"


def _papers(books: Books) -> Iterator[str]:
    for _, token, right in books.tables["paper"]:
        if not right:
            yield f"wrong row: paper {token} does not hold what its client wrote"


def _keys(books: Books, operations: Sequence[Operation]) -> Iterator[str]:
    there = books.keys()
    given: dict[tuple[str, int], str] = {}
    for operation in operations:
        for name, key in operation.keys.items():
            if there.get(name, key) != key:
                yield f"another key: {name} has {there[name]}, {operation} was told {key}"
            other = given.setdefault((name.split()[0], key), name)
            if other != name:
                yield f"one key twice: {key} was told for {other} and for {name}"


def _money(books: Books) -> Iterator[str]:
    balances: dict[int, int] = {row[0]: row[1] for row in books.tables["account"]}
    if sum(balances.values()) != TOTAL:
        yield f"money: the accounts hold {sum(balances.values())} together, not {TOTAL}"
    expected = dict.fromkeys(balances, OPENING)
    for _, _, source, target, amount in books.tables["transfer"]:
        expected[source] -= amount
        expected[target] += amount
    for account, balance in balances.items():
        if balance != expected[account]:
            yield f"money: account {account} holds {balance}, its transfers say {expected[account]}"


def _steps(books: Books) -> Iterator[str]:
    """Each change is by as much as it was to be; else it began from what it did not see."""
    amounts = {f"{row[1]}/out": -row[4] for row in books.tables["transfer"]}
    amounts |= {f"{row[1]}/in": row[4] for row in books.tables["transfer"]}
    for _, what, row, token, before, after in books.tables["change"]:
        wanted = amounts.get(token) if what == "account" else 1
        if wanted is not None and after - before != wanted:
            yield (
                f"lost update: {what} {row}, {token} changed it from {before} to {after},"
                f" not by {wanted}"
            )


def _changes(books: Books, what: str, start: int) -> Iterator[str]:
    """Each change begins where another one ended; where none did, an update was lost."""
    begun: dict[int, list[tuple[int, str]]] = defaultdict(list)
    ended: dict[int, list[int]] = defaultdict(list)
    for _, kind, row, token, before, after in books.tables["change"]:
        if kind == what:
            begun[row].append((before, token))
            ended[row].append(after)
    for row, value, *_ in books.tables[what]:
        left = Counter([start, *ended[row]])
        left.subtract([value, *(before for before, _ in begun[row])])
        for wrong, times in left.items():
            tokens = [token for before, token in begun[row] if before == wrong]
            where = f"lost update: {what} {row}"
            if times < 0:
                yield f"{where} from {wrong}, by {' and '.join(tokens) or 'nobody'}"
            elif times > 0:
                yield f"{where} was left at {wrong}, and nobody went on from there"


def wrong_answers(operations: Iterable[Operation]) -> list[str]:
    """The audits that did not come out right."""
    return [f"wrong answer: {one}" for one in operations if one.told == "wrong"]


def differences(books: Mapping[str, Books]) -> list[str]:
    """Where the nodes do not hold the same."""
    (first, model), *others = books.items()
    found = []
    for name, other in others:
        for table in sorted(model.tables.keys() | other.tables.keys()):
            mine, theirs = model.tables.get(table, ()), other.tables.get(table, ())
            if mine != theirs:
                found.append(f"nodes differ: {table} on {first} and {name}: {_first(mine, theirs)}")
    return found


def _first(mine: Sequence[Row], theirs: Sequence[Row]) -> str:
    only = sorted(set(mine) ^ set(theirs))
    return f"{len(mine)} and {len(theirs)} rows, first difference {only[0] if only else 'order'}"
