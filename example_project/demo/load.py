"""The visitors' process: ``python -m demo.load --port P`` prints JSON, a line a second.

Every line but the last is ``{"requests": n, "errors": n}``; the last is the whole tally.
"""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from argparse import ArgumentParser
from http.client import HTTPException

from demo.tally import Asked, Outcome, Tally
from demo.visitor import Answer, Visitor

HOST = "127.0.0.1"
REQUESTS_EACH = 20_000  # no visitor asks more than this, however fast the site is
ASK_AGAIN = 20  # times
MUCH = 999_999_999  # cents; more than anybody has
MOMENT = 1.0  # seconds
PAUSE = 0.04  # seconds between two pages, on the average
ACCOUNT = re.compile(r'href="/accounts/(\d+)/"')


class Walk:
    """One visitor's way through the bank until the deadline."""

    def __init__(
        self, port: int, deadline: float, tally: Tally, seed: int, pause: float = PAUSE
    ) -> None:
        self.visitor = Visitor(HOST, port)
        self.deadline = deadline
        self.tally = tally
        self.random = random.Random(seed)
        self.thinking = (pause / 2, pause * 3 / 2)
        self.accounts: list[str] = []  # each node draws keys of its own: none is known yet

    def run(self) -> None:
        """Look at pages and make transfers, three to one."""
        for _ in range(REQUESTS_EACH):
            if time.monotonic() >= self.deadline:
                return
            self.random.choice((self.look, self.look, self.look, self.transfer))()
            time.sleep(self.random.uniform(*self.thinking))

    def look(self) -> None:
        """Read one page."""
        page = self.ask(self.random.choice(("/", "/books/", self._account(), self._account())))
        if page:
            self.accounts = self.accounts or ACCOUNT.findall(page.body)
        if page and page.status == 200 and 'data-books="wrong"' in page.body:
            self.tally.error("the books page says that the books do not balance")

    def _account(self) -> str:
        """The page of some account; that of all of them as long as none is known."""
        return f"/accounts/{self.random.choice(self.accounts)}/" if self.accounts else "/"

    def transfer(self) -> None:
        """Open the form, fill it in, send it, and read the receipt."""
        form = self.ask("/transfer/")
        if form is None or form.status != 200:
            return
        self.accounts = form.options()
        source, target = self.random.sample(self.accounts, 2)
        amount = MUCH if self.random.random() < 0.05 else self.random.randint(1, 5_000)
        fields = {**form.hidden(), "source": source, "target": target}
        fields["amount"] = f"{amount // 100}.{amount % 100:02d}"
        outcome = self.send(fields)
        asked = Asked(fields["reference"], int(source), int(target), amount, outcome)
        self.tally.transfer(asked)
        if outcome == "made":
            self.read_receipt(f"/transfers/{fields['reference']}/")

    def read_receipt(self, path: str) -> None:
        """Look at the receipt; where it is not there yet, once more after a moment."""
        answer = self.ask(path, fine=(200, 404))
        if answer and answer.status == 404:
            self.tally.receipt_late()
            time.sleep(MOMENT)
            self.ask(path)

    def send(self, fields: dict[str, str]) -> Outcome:
        """Send the form, again as long as the site says that it may be sent again."""
        for _ in range(ASK_AGAIN):
            answer = self.ask("/transfer/", fields)
            if answer is None:
                return "unheard"
            if answer.status != 503 or answer.retry_after is None:
                return outcome_of(answer)
            self.tally.again()
            time.sleep(answer.retry_after)
        return "unheard"

    def ask(
        self, path: str, fields: dict[str, str] | None = None, fine: tuple[int, ...] = (200, 302)
    ) -> Answer | None:
        """One request, counted; None if no answer came. Other answers than ``fine`` are errors."""
        method = "GET" if fields is None else "POST"
        what = f"{method} {path if path.count('/') < 3 else path[: path.index('/', 1)] + '/...'}"
        start = time.monotonic()
        try:
            answer = self.visitor.get(path) if fields is None else self.visitor.post(path, fields)
        except (OSError, HTTPException) as error:
            self.tally.error(f"{what}: {type(error).__name__}")
            self.tally.request(what, time.monotonic() - start)
            return None
        self.tally.request(what, answer.seconds)
        if answer.status not in fine:
            doubt = " (commit in doubt, reported as such)" if answer.retry_after else ""
            self.tally.error(f"{what}: HTTP {answer.status}{doubt}")
        return answer


def outcome_of(answer: Answer) -> Outcome:
    """What the answer to a transfer form means."""
    if answer.status == 302:
        return "made"
    return "refused" if answer.status == 200 else "failed"


def visit(port: int, visitors: int, seconds: float, pause: float) -> Tally:
    """Send the visitors in, print progress until they are done, and return what they saw."""
    tally = Tally()
    deadline = time.monotonic() + seconds
    walks = [Walk(port, deadline, tally, seed, pause).run for seed in range(visitors)]
    threads = [threading.Thread(target=walk, daemon=True) for walk in walks]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        print(json.dumps(tally.progress()), flush=True)
        time.sleep(1)
    return tally


def main() -> int:
    """Run the visitors."""
    parser = ArgumentParser(prog="demo.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--visitors", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=PAUSE)
    options = parser.parse_args()
    tally = visit(options.port, options.visitors, options.seconds, options.pause)
    print(json.dumps(tally.as_dict()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
