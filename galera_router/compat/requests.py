"""Put a request back as it came in, so that it can be run once more."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from typing import Any, BinaryIO

from django.http import HttpRequest

_FORM = ("_post", "_files", "_stream", "_encoding", "_upload_handlers")


class RequestState:
    """A request as it came in, to be put back before it is run again.

    Why private: ``HttpRequest`` keeps its body, form and files in underscored attributes,
    and has no way to rewind them.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._attributes = {**request.__dict__}
        self._meta = {**request.META}

    @staticmethod
    def can_be_read_again(request: HttpRequest) -> bool:
        """Returns True if the body and the uploaded files can be handed out a second time."""
        now = vars(request)
        if "_body" in now or not now.get("_read_started"):
            return True
        parsed = "_post" in now and "_upload_handlers" in now  # not just marked as unreadable
        return parsed and all(_is_readable(upload) for upload in _uploads(request))

    def restore(self, request: HttpRequest) -> None:
        """Put ``request`` back, its body and files readable from their start.

        Raises:
            OSError: there is no room for a file that the last run has moved away. The request is
                then as it was.
        """
        now = vars(request)
        names = ("_read_started", "_body") if "_body" in now else ("_read_started", *_FORM)
        kept = {name: now[name] for name in names if name in now}
        uploads = _uploads(request) if "_files" in kept else []
        for upload in uploads:
            _bring_back(upload)
        now.clear()
        now.update({**self._attributes, **kept})
        request.META.clear()
        request.META.update(self._meta)
        if "_body" in kept:
            request._stream = io.BytesIO(kept["_body"])
        for upload in uploads:
            upload.seek(0)


def _uploads(request: HttpRequest) -> list[Any]:
    files = vars(request).get("_files")
    return [upload for _, uploads in files.lists() for upload in uploads] if files else []


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
