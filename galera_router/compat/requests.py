"""Put a request back as it came in, so that it can be run once more."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
from typing import Any, BinaryIO

from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParser
from django.utils.datastructures import MultiValueDict

_FORM = ("_post", "_files", "_stream", "_encoding", "_upload_handlers")
_SHOWN = frozenset({"_post", "_files"})
_PARSED = "galera_form"
#: What :class:`RequestState` puts back itself, and what belongs to the server.
_OURS = frozenset({*_FORM, "_body", "COOKIES", "GET", "META", "environ", "scope"})


class _Form:
    """A form with files as it was parsed: what is handed out may be changed by who gets it.

    Attributes:
        uploads: the files. They share their open files with those that are handed out.
    """

    def __init__(self, post: QueryDict, files: MultiValueDict[str, Any]) -> None:
        self._post, self._files = _copy_of(post), _copies_in(files)
        self.uploads = _all_in(self._files)
        vars(files)[_PARSED] = self

    def hand_out(self) -> dict[str, Any]:
        """Returns the attributes of a request that has just parsed it."""
        files = _copies_in(self._files)
        vars(files)[_PARSED] = self
        return {"_post": _copy_of(self._post), "_files": files}


class _Shown:
    """A form as it is in a request that somebody has looked at, and may have changed.

    Attributes:
        uploads: the files in it.
    """

    def __init__(self, attributes: dict[str, Any]) -> None:
        self._attributes = _copied({name: attributes[name] for name in _SHOWN & attributes.keys()})
        self.uploads = _all_in(self._attributes.get("_files", MultiValueDict()))
        self._places = [*map(_place_in, self.uploads)]

    def hand_out(self) -> dict[str, Any]:
        """Returns the attributes of the request; their files are open, and where they were."""
        for upload, place in zip(self.uploads, self._places, strict=True):
            upload.seek(place)
        return _copied(self._attributes)


def _place_in(upload: Any) -> int:
    try:
        return int(upload.tell())
    except (AttributeError, OSError, ValueError):  # closed, or a class of somebody's own
        return 0


def _shown(attributes: dict[str, Any]) -> _Shown | None:
    """Returns None if there is something else than Django makes."""
    files = attributes.get("_files", MultiValueDict())
    by_django = isinstance(attributes["_post"], QueryDict) and isinstance(files, MultiValueDict)
    return _Shown(attributes) if by_django else None


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    made = {name: _copy_of(values) for name, values in attributes.items()}
    if "_files" in made:
        made["_files"] = files = _copies_in(attributes["_files"])
        vars(files).update(vars(attributes["_files"]))  # how it was parsed
    return made


def _copy_of(values: Any) -> Any:
    made = copy.copy(values)
    if isinstance(values, QueryDict):  # its copies can be changed, whatever it is itself
        made._mutable = values._mutable
    return made


def _copies_in(files: MultiValueDict[str, Any]) -> MultiValueDict[str, Any]:
    return MultiValueDict({name: [*map(copy.copy, found)] for name, found in files.lists()})


def keep_forms() -> None:
    """Keep a copy of each form with files when it is parsed; may be called more than once.

    The stream of such a form cannot be read again. Other forms are parsed anew, from the body.
    Django REST framework parses forms itself, with the same method.
    """
    original = MultiPartParser.parse
    if hasattr(original, _PARSED):
        return

    def parse(self: MultiPartParser) -> Any:
        found: Any = original(self)
        post, files = found
        if isinstance(post, QueryDict) and isinstance(files, MultiValueDict):
            _Form(post, files)  # an upload handler may have made something else of it
        return post, files

    setattr(parse, _PARSED, True)
    MultiPartParser.parse = parse  # type: ignore[method-assign]


class RequestState:
    """A request as it came in, to be put back before it is run again.

    Why private: ``HttpRequest`` keeps its body, form and files in underscored attributes,
    and has no way to rewind them.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._attributes = attributes = {**request.__dict__}
        self._meta = {**request.META}
        self._form = _shown(attributes) if "_post" in attributes else None
        if "COOKIES" in attributes:  # else they are read from META
            attributes["COOKIES"] = {**attributes["COOKIES"]}
        if "GET" in attributes:
            attributes["GET"] = _copy_of(attributes["GET"])

    def can_be_read_again(self, request: HttpRequest) -> bool:
        """Returns True if the body and the uploaded files can be handed out a second time."""
        now = vars(request)
        if not all(map(_is_readable, self._uploads)):
            return False
        if "_body" in now or not now.get("_read_started"):
            return True
        if now.get("_encoding") != self._attributes.get("_encoding"):
            return False  # a run that sets it again would lose the form
        parsed = "_post" in now and "_upload_handlers" in now  # not just marked as unreadable
        return parsed and all(_is_readable(upload) for upload in _uploads(request))

    @property
    def _uploads(self) -> list[Any]:
        return [] if self._form is None else self._form.uploads

    def restore(self, request: HttpRequest) -> None:
        """Put ``request`` back, its body and files readable from their start.

        A form that somebody had looked at before is as it was then, and so are its files.

        Raises:
            OSError: there is no room for a file that the last run has moved away. The request is
                then as it was.
        """
        uploads = _uploads(request)
        for upload in (*uploads, *self._uploads):
            _bring_back(upload)
        now = vars(request)
        kept = _kept(now)
        now.clear()
        now.update({**self._as_it_came(), **kept})
        request.META.clear()
        request.META.update(self._meta)
        if "_body" in kept:
            request._stream = io.BytesIO(kept["_body"])
        for upload in uploads:
            upload.seek(0)
        if self._form is not None:
            now.update(self._form.hand_out())

    def _as_it_came(self) -> dict[str, Any]:
        """Returns the attributes, for a run that may change what is in them."""
        found = {**self._attributes}
        for form in ("_post", "_files"):  # kept, or parsed anew
            found.pop(form, None)
        for name in ("COOKIES", "GET"):
            if name in found:
                found[name] = _copy_of(found[name])
        return found


def of_others(request: HttpRequest) -> list[Any]:
    """Returns what others, such as a middleware, have put into ``request``."""
    return [value for name, value in [*vars(request).items()] if name not in _OURS]


def bring_back(file: Any) -> None:
    """Put an upload that was moved away back to where it came; leave other files alone.

    Raises:
        OSError: it is not as it came, or there is no room for it.
    """
    if _path(file) is None:
        return
    if not _is_readable(file):
        raise OSError("it was moved away, and changed")
    _bring_back(file)


def _kept(now: dict[str, Any]) -> dict[str, Any]:
    """Returns what cannot be had once more: the body, or a form whose stream has been read."""
    if "_body" in now:
        return {"_read_started": now["_read_started"], "_body": now["_body"]}
    if not now.get("_read_started"):
        return {}
    kept = {name: now[name] for name in ("_read_started", *_FORM) if name in now}
    form = _form_of(now)
    return kept if form is None else {**kept, **form.hand_out()}


def _form_of(now: dict[str, Any]) -> _Form | None:
    return getattr(now.get("_files"), _PARSED, None)


def _uploads(request: HttpRequest) -> list[Any]:
    """Returns the files as they came; those of a body that is kept are made anew."""
    now = vars(request)
    if "_body" in now or "_files" not in now:
        return []
    form = _form_of(now)
    return _all_in(now["_files"]) if form is None else form.uploads


def _all_in(files: MultiValueDict[str, Any]) -> list[Any]:
    return [upload for _, uploads in files.lists() for upload in uploads]


def _path(upload: Any) -> str | None:
    """Returns where an upload came on the disk; None if it is in memory."""
    where = getattr(upload, "temporary_file_path", None)
    return None if where is None else str(where())


def _is_readable(upload: Any) -> bool:
    """Returns True if ``upload`` is open and, where it was moved away, as large as it came.

    The open file is then what the application has stored, and may have changed since.
    """
    if upload.closed:
        return False
    path = _path(upload)
    if path is None or os.path.exists(path):
        return True
    return bool(os.fstat(upload.fileno()).st_size == upload.size)


def _bring_back(upload: Any) -> None:
    """Make an upload that was moved away anew, from the file that is still open.

    A copy: the next run may move it too, and what the last one has stored is no business of it.
    """
    path = _path(upload)
    if path is None or os.path.exists(path):
        return
    upload.seek(0)
    try:
        with open(path, "xb", opener=_for_us_alone) as copy:
            shutil.copyfileobj(upload.file, copy)
            _put_in_place(upload, copy)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # as ``tempfile`` makes it


def _put_in_place(upload: Any, copy: BinaryIO) -> None:
    """Have the open file of ``upload`` be the copy, so that a third run does not depend on what
    the application does with the file that it has stored.
    """
    copy.flush()
    new, old = os.open(copy.name, os.O_RDWR), upload.fileno()
    try:
        # The file object believes to be where it is now.
        os.lseek(new, os.lseek(old, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(new, old, inheritable=False)
    finally:
        os.close(new)
