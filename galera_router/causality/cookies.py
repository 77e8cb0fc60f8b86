"""Cookies that differ in name and value alone: what they have in common is written out once."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import Morsel
from typing import Any

from django.http import HttpResponse


class Kind:
    """The attributes that many cookies have, as ``set_cookie`` sets them, but without ``Expires``.

    Args:
        age: seconds.
        attributes: further arguments of ``response.set_cookie``.
    """

    def __init__(self, age: int, attributes: Mapping[str, Any]) -> None:
        response = HttpResponse()
        response.set_cookie("x", "x", max_age=age, httponly=True, **attributes)
        model = response.cookies["x"]
        model["expires"] = ""
        self.attributes = dict(model)
        self.text = model.OutputString().removeprefix("x=x")

    def cookie(self, name: str, value: str) -> Morsel[str]:
        """A cookie of this kind; nothing in ``value`` may need quotes."""
        return _Cookie(self, name, value)


class _Cookie(Morsel[str]):
    """Django's to change like any other: it is written out anew then. A copy is a plain one."""

    def __init__(self, kind: Kind, name: str, value: str) -> None:
        dict.__init__(self, kind.attributes)
        self._kind = kind
        self.set(name, value, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Morsel, (), self.__getstate__(), None, iter(self.items())

    def OutputString(self, attrs: Any = None) -> str:
        kind = self._kind
        if attrs is None and dict.__eq__(self, kind.attributes):
            return f"{self.key}={self.coded_value}{kind.text}"
        return super().OutputString(attrs)
