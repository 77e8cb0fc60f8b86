"""The bank's own tests: ordinary Django tests, which know nothing of any cluster."""

from __future__ import annotations

from io import StringIO
from threading import Thread
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory, SimpleTestCase, TestCase, TransactionTestCase
from django.urls import reverse

from bank.books import read_books
from bank.middleware import AskAgainMiddleware
from bank.models import Account, LedgerEntry, Transfer
from bank.templatetags.money import money
from bank.transfers import TransferRefused, make_transfer
from galera_router.exceptions import CommitOutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


def open_accounts() -> tuple[Account, Account]:
    """Two accounts with 100.00 each."""
    mill = Account.objects.create(owner="Mill", opening=10_000, balance=10_000)
    forge = Account.objects.create(owner="Forge", opening=10_000, balance=10_000)
    return mill, forge


class MoneyTest(SimpleTestCase):
    """Cents as people write them."""

    def test_money(self) -> None:
        """Separators, sign and the zero before the cents."""
        cases = {0: "0.00", 5: "0.05", -5: "-0.05", 100_000: "1,000.00", -123_456: "-1,234.56"}
        for cents, text in cases.items():
            with self.subTest(cents=cents):
                self.assertEqual(money(cents), text)


class TransferTest(TestCase):
    """Moving money."""

    mill: Account
    forge: Account

    @classmethod
    def setUpTestData(cls) -> None:
        """Two accounts that every test starts with."""
        cls.mill, cls.forge = open_accounts()

    def balances(self) -> list[int]:
        """What both accounts hold now."""
        return list(Account.objects.values_list("balance", flat=True))

    def test_money_moves_and_is_booked_twice(self) -> None:
        """Both balances change, and the ledger has an entry for each."""
        made = make_transfer("r1", self.mill, self.forge, 2_500)
        self.assertEqual(self.balances(), [7_500, 12_500])
        entries = LedgerEntry.objects.filter(transfer=made).order_by("amount")
        self.assertEqual(
            list(entries.values_list("account", "amount")),
            [(self.mill.pk, -2_500), (self.forge.pk, 2_500)],
        )

    def test_same_reference_moves_once(self) -> None:
        """Asked again, even with the source empty by now, the transfer made is returned."""
        first = make_transfer("r1", self.mill, self.forge, 10_000)
        self.assertEqual(make_transfer("r1", self.mill, self.forge, 10_000), first)
        self.assertEqual(self.balances(), [0, 20_000])

    def test_reference_of_another_transfer_is_refused(self) -> None:
        """A reference stands for one source, one target and one amount."""
        make_transfer("r1", self.mill, self.forge, 100)
        for source, target, amount in (
            (self.forge, self.mill, 100),
            (self.mill, self.forge, 200),
        ):
            with self.assertRaisesMessage(TransferRefused, "another transfer"):
                make_transfer("r1", source, target, amount)
        self.assertEqual(self.balances(), [9_900, 10_100])

    def test_too_little_money_leaves_nothing_behind(self) -> None:
        """A refused transfer is neither booked nor remembered."""
        with self.assertRaisesMessage(TransferRefused, "Mill has too little"):
            make_transfer("r1", self.mill, self.forge, 10_001)
        self.assertEqual(self.balances(), [10_000, 10_000])
        self.assertFalse(Transfer.objects.exists())

    def test_the_database_holds_the_line(self) -> None:
        """No account can be overdrawn past the code."""
        with self.assertRaises(IntegrityError), transaction.atomic():
            Account.objects.filter(pk=self.mill.pk).update(balance=-1)

    def test_books_tell_what_is_wrong(self) -> None:
        """The books balance after a transfer, and name an account that was tampered with."""
        make_transfer("r1", self.mill, self.forge, 1_234)
        self.assertTrue(read_books().balanced)
        Account.objects.filter(pk=self.forge.pk).update(balance=1)
        found = read_books()
        self.assertFalse(found.balanced)
        self.assertEqual(found.wrong, (self.forge,))


class PagesTest(TestCase):
    """What a person sees."""

    mill: Account
    forge: Account

    @classmethod
    def setUpTestData(cls) -> None:
        """Two accounts that every test starts with."""
        cls.mill, cls.forge = open_accounts()

    def ask(self, **changes: object) -> Answer:
        """Send the transfer form."""
        form = {"source": self.mill.pk, "target": self.forge.pk, "amount": "12.50"}
        return self.client.post(reverse("transfer"), form | {"reference": "r1"} | changes)

    def test_pages_without_money_moved(self) -> None:
        """Every page has something to say about a new bank."""
        pages = {
            reverse("overview"): "200.00",
            reverse("account", args=[self.mill.pk]): "Nothing has moved yet",
            reverse("transfer"): 'name="reference"',
            reverse("books"): "The books balance",
            reverse("health"): "ok",
        }
        for address, text in pages.items():
            with self.subTest(address=address):
                self.assertContains(self.client.get(address), text)

    def test_transfer_leads_to_its_receipt(self) -> None:
        """A receipt follows, and both accounts show the entry."""
        answer = self.ask()
        self.assertRedirects(answer, reverse("receipt", args=["r1"]))
        self.assertContains(self.client.get(reverse("account", args=[self.mill.pk])), "-12.50")
        self.assertContains(self.client.get(reverse("account", args=[self.forge.pk])), "112.50")

    def test_unknown_receipt_may_be_looked_for_again(self) -> None:
        """A receipt that is not there yet is not found, kindly."""
        answer = self.client.get(reverse("receipt", args=["r2"]))
        self.assertContains(answer, "look again", status_code=404)

    def test_transfer_sent_twice_is_made_once(self) -> None:
        """The second answer is the receipt of the first."""
        self.ask()
        self.assertRedirects(self.ask(), reverse("receipt", args=["r1"]))
        self.assertEqual(Transfer.objects.count(), 1)

    def test_form_says_what_is_wrong(self) -> None:
        """Whatever is refused is explained in the form, and nothing is booked."""
        cases: dict[str, dict[str, object]] = {
            "has too little": {"amount": "100.01"},
            "Choose another account": {"target": self.mill.pk},
            "greater than or equal to 0.01": {"amount": "0"},
        }
        for text, changes in cases.items():
            with self.subTest(text=text):
                self.assertContains(self.ask(**changes), text)
        self.assertFalse(Transfer.objects.exists())

    def test_admin_shows_history_and_leaves_it_alone(self) -> None:
        """A transfer can be looked at in the admin, and has nothing to edit."""
        self.client.force_login(User.objects.create_superuser("boss"))
        made = make_transfer("r1", self.mill, self.forge, 100)
        page = self.client.get(reverse("admin:bank_transfer_change", args=[made.pk]))
        self.assertContains(page, "r1")
        self.assertNotContains(page, 'name="_save"')

    def test_admin_opens_an_account(self) -> None:
        """A new account holds what it was opened with."""
        self.client.force_login(User.objects.create_superuser("boss"))
        form = {"owner": "Inn", "opening": "500"}
        answer = self.client.post(reverse("admin:bank_account_add"), form)
        self.assertRedirects(answer, reverse("admin:bank_account_changelist"))
        self.assertEqual(Account.objects.get(owner="Inn").balance, 500)


class AskAgainTest(SimpleTestCase):
    """A commit whose outcome is unknown."""

    def answer(self, error: Exception) -> HttpResponse | None:
        """What the middleware makes of this error."""
        fields = {"reference": "r1", "csrfmiddlewaretoken": "old"}
        request = RequestFactory().post("/transfer/", fields)
        middleware = AskAgainMiddleware(lambda request: self.fail("not called"))
        return middleware.process_exception(request, error)

    def test_unknown_outcome_offers_the_same_form(self) -> None:
        """The customer may send the same reference again."""
        answer = self.answer(CommitOutcomeUnknown("the connection was lost"))
        assert answer is not None
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer["Retry-After"], "1")
        self.assertContains(
            answer, '<input type="hidden" name="reference" value="r1">', status_code=503, html=True
        )
        self.assertNotContains(answer, 'value="old"', status_code=503)

    def test_other_errors_go_on(self) -> None:
        """Nothing else is covered up."""
        self.assertIsNone(self.answer(ValueError("something else")))


class SeedTest(TestCase):
    """``manage.py seed_bank``."""

    def test_seeding_twice_opens_nothing_more(self) -> None:
        """The command brings the number of accounts up to what was asked for."""
        for wanted in (3, 3, 18):
            call_command("seed_bank", accounts=wanted, stdout=StringIO())
            self.assertEqual(Account.objects.count(), wanted)
        self.assertEqual(Account.objects.filter(owner="Bakery 2").count(), 1)


class ConcurrencyTest(TransactionTestCase):
    """Transactions of several connections at once, committed for real."""

    def setUp(self) -> None:
        """Two accounts."""
        self.mill, self.forge = open_accounts()

    def run_together(self, *jobs: Callable[[], object]) -> list[Exception]:
        """Run every job in a thread of its own; what they raised."""
        raised: list[Exception] = []

        def work(job: Callable[[], object]) -> None:
            try:
                job()
            except Exception as error:  # handed to the test
                raised.append(error)
            finally:
                connection.close()

        threads = [Thread(target=work, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised

    def test_money_goes_both_ways_at_once(self) -> None:
        """Locks are taken in one order: nobody deadlocks, nothing is lost."""

        def send(name: str, source: Account, target: Account) -> None:
            for turn in range(10):
                make_transfer(f"{name}-{turn}", source, target, 100)

        raised = self.run_together(
            lambda: send("a", self.mill, self.forge), lambda: send("b", self.forge, self.mill)
        )
        self.assertEqual(raised, [])
        self.assertEqual(Transfer.objects.count(), 20)
        self.assertEqual(list(Account.objects.values_list("balance", flat=True)), [10_000] * 2)
        self.assertTrue(read_books().balanced)

    def test_same_reference_at_the_same_time(self) -> None:
        """Four at once ask for the same transfer; it is made once, and nobody is told no."""
        job = lambda: make_transfer("r1", self.mill, self.forge, 100)  # noqa: E731
        self.assertEqual(self.run_together(job, job, job, job), [])
        self.assertEqual(Transfer.objects.count(), 1)
        self.assertTrue(read_books().balanced)

    def test_last_money_is_spent_once(self) -> None:
        """Two transfers want all there is: one is made, one refused."""
        raised = self.run_together(
            lambda: make_transfer("r1", self.mill, self.forge, 10_000),
            lambda: make_transfer("r2", self.mill, self.forge, 10_000),
        )
        self.assertEqual([type(error) for error in raised], [TransferRefused])
        self.assertEqual(Transfer.objects.count(), 1)
        self.assertTrue(read_books().balanced)
