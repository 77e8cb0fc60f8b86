"""Put back what a function was given, before the function is run again.

A run that was undone leaves traces on objects: a model instance that it saved has a key, and the
sums that the run has added to it. Another run would add them a second time.

Objects that belong to one request or task are put back wherever the function can reach them: model
instances, querysets, forms, and requests with their session and messages. The function can reach
its arguments and what they contain, the attributes of its arguments (``self`` is one), and the
variables around it. Lists, dictionaries, sets, dataclasses and files are put back only if they are
an argument, are inside one, or are a field of such an object, because others may be shared. A file
is set back to its old position. An iterator cannot be put back.
"""

from __future__ import annotations

import io
import tempfile
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial, singledispatch
from inspect import GEN_CREATED, getgeneratorstate
from types import (
    CellType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.contrib.sessions.backends.base import SessionBase
from django.core.files.base import File
from django.db.models import Model
from django.db.models.query import QuerySet, RawQuerySet
from django.forms import BaseForm, BaseFormSet
from django.http import HttpRequest
from django.utils.functional import LazyObject

from galera_router.compat.requests import RequestState, bring_back, of_others


class Place(Enum):
    """Where a value was found."""

    ARGUMENT = "an argument, or in one"
    FIELD = "in a model instance, or in another object that is put back"
    AROUND = "a variable around the function"
    ATTRIBUTE = "an attribute of one of these"
    HELD = "in a container that is none of ours"


#: So many things are kept for one function.
MOST = 100_000
#: A container that is none of ours is looked through if it has no more entries, those of the
#: containers in it included.
FEW = 1000
#: Nothing in them can be changed, and nothing hangs on them.
_PLAIN = frozenset({
    type(None), bool, int, float, complex, str, bytes, Decimal, UUID, date, datetime, time,
    timedelta,
})  # fmt: skip
_GONE = "what it has taken from an iterator that it was given is gone"
_UNREADABLE = "the body or the files of the request cannot be read again"
#: Put back as a whole: known by name, for their modules may not be there, or want settings.
_BY_NAME = frozenset({
    ("django.contrib.messages.storage.base", "BaseStorage"),
    ("rest_framework.request", "Request"),
    ("rest_framework.serializers", "BaseSerializer"),  # it would change what it has once made
})  # fmt: skip
_OURS = frozenset({Place.ARGUMENT, Place.FIELD})
_LOOKED_INTO = frozenset({Place.ARGUMENT, Place.AROUND})
_CONTAINERS = (list, dict, set, frozenset, tuple, deque)
#: Attributes of a file of Django's: what it reads from, and the instance that it belongs to.
_OPENED, _OWNER = ("file", "_file"), "instance"


class Given:
    """Keeps the state of what a function was given; to be made before the first run.

    Args:
        function: what is to be run, and perhaps again.
        args: its arguments.
        kwargs: those that are given by name.
    """

    def __init__(
        self, function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._known: dict[int, Any] = {}  # with the objects: else another one may get the id
        self._undo: list[Callable[[], None]] = []
        self._lost: list[tuple[str, Callable[[], bool]]] = []
        found = deque((value, Place.ARGUMENT) for value in (*args, *kwargs.values()))
        found.append((function, Place.AROUND))
        self._keep(found)

    def _keep(self, found: deque[tuple[Any, Place]]) -> None:
        """Keep what is ``found``; what is ours comes first, because it may be shared as well."""
        while found:
            if len(self._known) > MOST:
                self.lose(f"it was given more than {MOST:,} things")
                break
            value, place = found.popleft()
            if type(value) in _PLAIN or id(value) in self._known:
                continue
            self._known[id(value)] = value
            # Not by ``__class__``, which has a lazy object ask the database.
            for one in _kept.dispatch(type(value))(value, place, self):
                (found.appendleft if one[1] in _OURS else found.append)(one)

    def put_back(self) -> str | None:
        """Put everything back; returns None, or in words why something cannot be put back."""
        for why, is_lost in self._lost:
            if is_lost():
                return why
        try:
            for undo in self._undo:
                undo()
        except Exception as error:  # a file is closed; a container has methods of its own
            return f"what it was given cannot be put back ({type(error).__name__})"
        return None

    def refill(self, values: MutableMapping[Any, Any]) -> None:
        """Put the attributes ``values`` back to what they are now.

        Attributes that have not changed are not touched, because other threads may read them.
        """
        before = {**values}

        def undo() -> None:
            for name in values.keys() - before.keys():
                del values[name]
            changed = (name for name in before if values.get(name, before) is not before[name])
            values.update({name: before[name] for name in changed})

        self._undo.append(undo)

    def undo(self, do: Callable[[], Any]) -> None:
        """Call ``do`` in :meth:`put_back`; it puts something back."""
        self._undo.append(do)

    def lose(self, why: str, is_lost: Callable[[], bool] = lambda: True) -> None:
        """Let :meth:`put_back` return ``why`` if ``is_lost()`` returns True by then."""
        self._lost.append((why, is_lost))


Found = Iterable[tuple[Any, Place]]


@singledispatch
def _kept(value: object, place: Place, given: Given) -> Found:
    """Keep the state of ``value``; returns the objects in it, each with its place."""
    if _is_known(type(value)):
        return _whole(value, place, given)
    if place in _OURS:
        if hasattr(type(value), "__next__"):
            given.lose(_GONE)
        if is_dataclass(value):
            return _whole(value, place, given)
    if place not in _LOOKED_INTO:
        return ()
    return [(one, Place.ATTRIBUTE) for state in _states(value) for one in [*state.values()]]


@_kept.register(type)
@_kept.register(ModuleType)
def _shared_by_all(value: object, place: Place, given: Given) -> Found:
    return ()


def _attributes(value: object) -> dict[str, Any]:
    """Returns the attributes of the very object, without asking it.

    They may be changed by other threads: whoever goes through them makes a copy first.
    """
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


class _Slots(MutableMapping[Any, Any]):
    """The values in the ``__slots__`` of an object's classes; the keys are the descriptors."""

    def __init__(self, value: object, members: Iterable[Any]) -> None:
        self._value, self._members = value, members

    def __getitem__(self, member: Any) -> Any:
        try:
            return member.__get__(self._value)
        except AttributeError:  # it has no value yet
            raise KeyError(member) from None

    def __setitem__(self, member: Any, value: Any) -> None:
        member.__set__(self._value, value)

    def __delitem__(self, member: Any) -> None:
        member.__delete__(self._value)

    def __iter__(self) -> Iterator[Any]:
        return (member for member in self._members if member in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_members_of: WeakKeyDictionary[type, list[Any]] = WeakKeyDictionary()


def _members(kind: type) -> list[Any]:
    """Returns the descriptors of all ``__slots__``; looked for once, because most have none."""
    known = _members_of.get(kind)
    if known is None:
        with_slots = [names for base in kind.__mro__ if "__slots__" in (names := vars(base))]
        found = [one for names in with_slots for one in [*names.values()]]
        known = [one for one in found if type(one) is MemberDescriptorType]
        _members_of[kind] = known
    return known


def _states(value: object) -> list[MutableMapping[Any, Any]]:
    """Returns all that ``value`` keeps its attributes in."""
    members = _members(type(value))
    attributes = _attributes(value)
    return [attributes, _Slots(value, members)] if members else [attributes]


def _is_known(kind: type) -> bool:
    return any((base.__module__, base.__name__) in _BY_NAME for base in kind.__mro__)


# --- what is put back wherever it is


@_kept.register(QuerySet)
@_kept.register(RawQuerySet)
@_kept.register(LazyObject)
@_kept.register(BaseForm)
@_kept.register(BaseFormSet)
@_kept.register(SessionBase)
def _whole(value: Any, place: Place, given: Given) -> Found:
    states = _states(value)
    for state in states:
        given.refill(state)
    return [(one, Place.FIELD) for state in states for one in [*state.values()]]


@_kept.register(Model)
def _model(value: Any, place: Place, given: Given) -> Found:
    return [*_whole(value, place, given), *_whole(value._state, place, given)]


@_kept.register(HttpRequest)
def _request(value: Any, place: Place, given: Given) -> Found:
    before = RequestState(value)
    given.lose(_UNREADABLE, lambda: not before.can_be_read_again(value))
    given.undo(lambda: before.restore(value))
    return [(one, Place.FIELD) for one in of_others(value)]


# --- containers


@_kept.register(list)
@_kept.register(deque)
@_kept.register(bytearray)
def _list(value: Any, place: Place, given: Given) -> Found:
    if place not in _OURS:
        return _held(value, place)
    before = [*value]

    def undo() -> None:
        if not _same(value, before):
            value.clear()
            value.extend(before)

    given.undo(undo)
    return _held(before, place)


@_kept.register(dict)
def _dict(value: Any, place: Place, given: Given) -> Found:
    # A MultiValueDict has lists of values, which its own methods do not show; an OrderedDict has
    # an order that those of ``dict`` do not know of.
    kind = OrderedDict if isinstance(value, OrderedDict) else dict
    if place not in _OURS:
        return _held(value, place)
    before = dict(kind.items(value))

    def undo() -> None:
        if not (_same(value, before) and _same(kind.values(value), before.values())):
            kind.clear(value)
            kind.update(value, before)

    given.undo(undo)
    return _held(before, place)


@_kept.register(set)
def _set(value: Any, place: Place, given: Given) -> Found:
    if place not in _OURS:
        return _held(value, place)
    before = {*value}

    def undo() -> None:
        if value != before:
            value.clear()
            value.update(before)

    given.undo(undo)
    return _held(before, place)


@_kept.register(tuple)
@_kept.register(frozenset)
@_kept.register(type({}.keys()))
@_kept.register(type({}.values()))
@_kept.register(type({}.items()))
def _fixed(value: Any, place: Place, given: Given) -> Found:
    return _held(value, place)


def _held(container: Collection[Any], place: Place) -> Found:
    """Returns what is in ``container`` and has to be kept too."""
    if place is Place.HELD:  # looked through together with the one that it is in
        return ()
    ours = place in _OURS
    found, place = (_entries(container), place) if ours else (_within(container), Place.HELD)
    return [(one, place) for one in found if type(one) not in _PLAIN]


def _within(container: Collection[Any]) -> list[Any]:
    """Returns what is in a container that is none of ours, and in the containers in it.

    Level by level, as long as there are not too many entries in all.
    """
    found: list[Any] = []
    level, count = [container], len(container)
    while level and count <= FEW:
        entries = [one for each in level for one in _entries(each)]
        found += entries
        level = [one for one in entries if isinstance(one, _CONTAINERS) and one]
        count += sum(map(len, level))
    return found


def _entries(container: Collection[Any]) -> list[Any]:
    """Returns the values of ``container``, of a dictionary the keys as well.

    It is a copy, because other threads may change what is not ours while we read it.
    """
    if isinstance(container, dict):
        kind = OrderedDict if isinstance(container, OrderedDict) else dict
        return [*kind.keys(container), *kind.values(container)]
    return [*container]


def _same(some: Iterable[Any], others: Iterable[Any]) -> bool:
    return [*map(id, some)] == [*map(id, others)]


# --- functions, and what can be read once


@_kept.register(FunctionType)
def _function(value: Any, place: Place, given: Given) -> Found:
    cells = value.__closure__ if place in _LOOKED_INTO else None
    return [(one, Place.AROUND) for cell in cells or () for one in _in_cell(cell)]


def _in_cell(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # the variable has no value yet
        return []


@_kept.register(MethodType)
def _method(value: Any, place: Place, given: Given) -> Found:
    both = value.__self__, value.__func__
    return [(one, Place.AROUND) for one in both if place in _LOOKED_INTO]


@_kept.register(partial)
def _partial(value: Any, place: Place, given: Given) -> Found:
    held = value.func, *value.args, *value.keywords.values()
    return [(one, Place.AROUND) for one in held if place in _LOOKED_INTO]


@_kept.register(GeneratorType)
def _generator(value: Any, place: Place, given: Given) -> Found:
    fresh = getgeneratorstate(value) == GEN_CREATED
    if place in _OURS:
        given.lose(_GONE, lambda: not fresh or getgeneratorstate(value) != GEN_CREATED)
    return ()


@_kept.register(File)
def _django_file(value: Any, place: Place, given: Given) -> Found:
    """One that is not open yet is not opened: its storage would have to fetch it."""
    if place not in _OURS:
        return ()
    attributes = _attributes(value)
    given.refill(attributes)
    if any(attributes.get(name) is not None for name in _OPENED):
        _file(value, place, given)
    found = [attributes.get(name) for name in (*_OPENED, _OWNER)]
    return [(one, Place.FIELD) for one in found]


@_kept.register(io.IOBase)
@_kept.register(tempfile._TemporaryFileWrapper)
def _file(value: Any, place: Place, given: Given) -> Found:
    try:
        if place in _OURS and not value.closed:
            given.undo(_seek_back(value))
    except (AttributeError, OSError, ValueError):  # a pipe, a line that is being read
        given.lose(_GONE)
    return ()


def _seek_back(file: Any) -> Callable[[], None]:
    """Returns what goes back to where ``file`` is now, and cuts off what is written behind that."""
    where = file.tell()
    ends_here = file.writable() and file.seek(0, io.SEEK_END) == where
    file.seek(where)

    def undo() -> None:
        bring_back(file)
        file.seek(where)
        if ends_here:
            file.truncate()

    return undo
