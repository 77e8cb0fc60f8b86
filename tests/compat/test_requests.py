"""A request is put back as it came in, its uploads too."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import override_settings

from galera_router.compat.requests import RequestState

CONTENT = b"0123456789" * 30_000
SMALL = b"0123456789a"  # the open file holds it in its buffer


@pytest.mark.parametrize("read", [False, True])
def test_a_request_is_put_back(read: bool) -> None:
    request = RequestFactory().post("/", {"a": "1"})
    state = RequestState(request)
    if read:
        assert request.POST["a"] == "1"
    request.META["X"] = "left over"
    request.user = object()  # type: ignore[assignment]
    assert state.can_be_read_again(request)
    state.restore(request)
    assert not hasattr(request, "user")
    assert "X" not in request.META
    assert request.POST["a"] == "1"


def test_a_stream_that_was_read_cannot_be_put_back() -> None:
    request: HttpRequest = RequestFactory().post("/", b"text", content_type="text/plain")
    request.read()
    assert not RequestState.can_be_read_again(request)
    assert not request.POST
    assert not RequestState.can_be_read_again(request)


def test_a_body_that_was_read_is_readable_again() -> None:
    request = RequestFactory().post("/", b"text", content_type="text/plain")
    state = RequestState(request)
    assert request.body == b"text"
    state.restore(request)
    assert isinstance(request._stream, io.BytesIO)
    assert request.read() == b"text"


def _uploaded(content: bytes = CONTENT) -> HttpRequest:
    return RequestFactory().post("/", {"file": SimpleUploadedFile("f", content)})


def _file(request: HttpRequest) -> Any:
    return request.FILES["file"]


def _store(place: Path, request: HttpRequest) -> Path:
    """Read a little of the upload, then have a storage move it away."""
    file = _file(request)
    assert file.read(7) == CONTENT[:7]
    return place / FileSystemStorage(place).save("stored", file)


@pytest.mark.parametrize("content", [CONTENT, SMALL], ids=len)
@override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10)
def test_an_upload_that_was_moved_away_is_there_again_each_time(
    tmp_path: Path, content: bytes
) -> None:
    request = _uploaded(content)
    state = RequestState(request)
    for run in range(4):
        stored = _store(tmp_path, request)
        assert stored.read_bytes() == content
        assert state.can_be_read_again(request)
        state.restore(request)
        assert _file(request).read() == content, run
        _file(request).seek(0)
        stored.write_bytes(b"changed since, by the one who has stored it")
    path = _file(request).temporary_file_path()
    assert os.stat(path).st_mode & 0o777 == 0o600
    request.close()
    assert not os.path.exists(path)


@override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10)
def test_an_upload_that_was_changed_since_cannot_be_read_again(tmp_path: Path) -> None:
    request = _uploaded()
    _store(tmp_path, request).write_bytes(b"smaller")
    assert not RequestState.can_be_read_again(request)
    request.close()


@override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10)
def test_an_upload_that_there_is_no_room_for_leaves_the_request_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    request = _uploaded()
    state = RequestState(request)
    _store(tmp_path, request)
    request.META["X"] = "left over"
    monkeypatch.setattr("galera_router.compat.requests.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        state.restore(request)
    assert request.META["X"] == "left over"
    assert not os.path.exists(_file(request).temporary_file_path())
    request.close()


@override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10)
def test_a_closed_upload_cannot_be_read_again() -> None:
    request = _uploaded()
    _file(request).close()
    assert not RequestState.can_be_read_again(request)
