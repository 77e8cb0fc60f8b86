"""Error 4031 is a lost connection on MySQL; on MariaDB it is a trigger that is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, transaction

from galera_router.exceptions import ClusterError
from tests.faults.known import both
from tests.faults.limits import within
from tests.faults.support import EitherShop
from tests.shop.models import Author

CREATE = (
    "CREATE TRIGGER e23 BEFORE INSERT ON shop_tag FOR EACH ROW FOLLOWS missing SET NEW.name = 'x'"
)


@pytest.fixture
def triggers(shop: EitherShop) -> Iterator[EitherShop]:
    shop.configure(OPTIONS={"reconnect_wait_time": 2.0})
    shop.warm()
    yield shop
    shop.galera["db1"].query("DROP TRIGGER IF EXISTS galera_router.e23")


def _create() -> None:
    with connection.cursor() as cursor:
        cursor.execute(CREATE)


@both()
@pytest.mark.parametrize("inside", [False, True])
def test_the_error_is_told_as_it_is(
    triggers: EitherShop, inside: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with within(1.5), pytest.raises(OperationalError) as caught:
        (transaction.atomic(_create) if inside else _create)()
    assert not isinstance(caught.value, ClusterError), caught.value
    assert caught.value.args[0] == 4031
    assert "is down" not in caplog.text


@both()
def test_the_connection_lives_on(triggers: EitherShop) -> None:
    Author.objects.create(name="Ann")
    with triggers.traffic() as sent:
        with pytest.raises(OperationalError):
            _create()
        Author.objects.create(name="Bea")
    assert [statement for statement in sent["db1"] if "Connect" in statement] == []
