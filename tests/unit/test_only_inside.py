"""The server's variable for read-only transactions has two names."""

from __future__ import annotations

import pytest

from galera_router.connections.connection import only_inside


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("5.5.5-10.6.21-MariaDB", b"tx"),
        ("10.11.19-MariaDB-0+deb12u1", b"tx"),
        ("11.0.6-MariaDB", b"tx"),
        ("11.1.2-MariaDB-log", b"transaction"),
        ("11.8.9-MariaDB-0+deb13u1", b"transaction"),
        ("12.3.1-MariaDB", b"transaction"),
        ("a proxy", b"tx"),
    ],
)
def test_the_name_is_that_of_the_server(version: str, name: bytes) -> None:
    assert only_inside(version) == b"SET STATEMENT %s_read_only=1 FOR " % name
