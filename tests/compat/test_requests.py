"""A request is put back as it came in, its uploads too."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from django.test.utils import override_settings
from django.utils.datastructures import MultiValueDict
from rest_framework import parsers
from rest_framework.request import Request

from galera_router.compat.requests import RequestState, keep_forms

CONTENT = b"0123456789" * 30_000
SMALL = b"0123456789a"  # the open file holds it in its buffer

keep_forms()
keep_forms()  # harmless


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
    state = RequestState(request)
    request.read()
    assert not state.can_be_read_again(request)
    assert not request.POST
    assert not state.can_be_read_again(request)


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
    assert not RequestState(request).can_be_read_again(request)
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
    assert not RequestState(request).can_be_read_again(request)


# --- what the last run has taken out of it, or changed in it ------------------------------


def _pops_a_field(request: Any) -> None:
    request.POST._mutable = True
    assert request.POST.pop("word") == ["hello"]


def _pops_a_file(request: Any) -> None:
    assert request.FILES.pop("file")[0].read() == CONTENT


def _renames(request: Any) -> None:
    _file(request).name = "renamed"


def _converts(request: Any) -> None:
    upload = _file(request)
    upload.content_type, upload.file, upload.size = "image/png", io.BytesIO(b"picture"), 7


def _pops_a_cookie(request: Any) -> None:
    assert request.COOKIES.pop("guest") == "ann"


def _changes_the_query(request: Any) -> None:
    request.GET._mutable = True
    assert request.GET.pop("page") == ["2"]


def _found(request: Any) -> tuple[Any, ...]:
    file = _file(request)
    content = file.read(), file.name, file.size, file.content_type
    return [*request.POST.lists()], content, request.COOKIES, [*request.GET.lists()]


def _with_all() -> Any:
    factory = RequestFactory()
    factory.cookies["guest"] = "ann"
    data = {"word": "hello", "file": SimpleUploadedFile("f", CONTENT, "text/plain")}
    return factory.post("/?page=2", data)


@pytest.mark.parametrize("looked", ["at all", "at the query", "at nothing"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        _pops_a_field,
        _pops_a_file,
        _renames,
        _converts,
        _pops_a_cookie,
        _changes_the_query,
    ],
)
def test_each_run_gets_it_as_it_came(
    change: Callable[[Any], None], large: bool, looked: str
) -> None:
    """Also where another middleware, ahead of ours, has looked at it."""
    request, wanted = _with_all(), _found(_with_all())
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10 if large else 10_000_000):
        _look(request, looked)
        state = RequestState(request)
        for run in range(3):
            _look(request, "at all")
            change(request)
            assert state.can_be_read_again(request), run
            state.restore(request)
            assert not request.POST._mutable
            assert not request.GET._mutable
        assert _found(request) == wanted
    request.close()


def _look(request: Any, at: str) -> None:
    if at == "at all":
        assert request.POST and request.FILES and request.COOKIES  # noqa: PT018
    if at != "at nothing":
        assert request.GET


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kept", [False, True], ids=["stream", "body"])
def test_what_was_put_into_a_form_before_is_kept(large: bool, kept: bool) -> None:
    """By a view that then calls a function with the request."""
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10 if large else 10_000_000):
        request = _with_all()
        assert not kept or request.body
        request.POST = request.POST.copy()
        request.POST["word"] = "other"
        _file(request).name = "renamed"
        _file(request).seek(4)
        state = RequestState(request)
        for _ in range(2):
            request.POST["word"] = "third"
            _file(request).name = "third"
            assert _file(request).read() == CONTENT[4:]
            assert state.can_be_read_again(request)
            state.restore(request)
            assert request.POST["word"] == "other"
            assert _file(request).name == "renamed"
    request.close()


def test_a_form_without_files_that_was_set_is_kept() -> None:
    request: Any = RequestFactory().post("/", "a=1", "application/x-www-form-urlencoded")
    request.POST = QueryDict("a=5", mutable=True)
    state = RequestState(request)
    for _ in range(2):
        request.POST["a"] = "2"
        state.restore(request)
        assert request.POST["a"] == "5"


def test_a_file_of_a_body_that_is_closed_cannot_be_read_again() -> None:
    request = _with_all()
    assert request.body
    _look(request, "at all")
    state = RequestState(request)
    _file(request).close()
    assert not state.can_be_read_again(request)


def test_an_upload_without_a_position_is_no_error() -> None:
    request: Any = _uploaded()
    stream: Any = SimpleNamespace(closed=False, name="f")
    request.FILES["file"] = UploadedFile(stream, "f")
    state = RequestState(request)
    assert state.can_be_read_again(request)


@pytest.mark.parametrize("first", ["encoding", "POST"])
def test_a_run_that_sets_the_encoding_would_not_find_the_form_again(first: str) -> None:
    request: Any = _with_all()
    state = RequestState(request)
    if first == "POST":
        assert request.POST
    request.encoding = "latin-1"
    if first == "encoding":
        assert request.POST
    assert not state.can_be_read_again(request)


@pytest.mark.parametrize("looked", [False, True])
def test_a_form_without_files_is_parsed_anew(looked: bool) -> None:
    request: Any = RequestFactory().post("/", "a=1", "application/x-www-form-urlencoded")
    if looked:
        assert request.POST["a"] == "1"
    state = RequestState(request)
    request.POST._mutable = True
    request.POST["a"] = "2"
    state.restore(request)
    assert request.POST["a"] == "1"


def test_a_file_that_was_taken_out_and_closed_cannot_be_read_again() -> None:
    request: Any = _uploaded()
    request.FILES.pop("file")[0].close()
    assert not RequestState(request).can_be_read_again(request)


def test_a_form_that_was_put_together_by_hand_is_kept() -> None:
    request: Any = _uploaded()
    state = RequestState(request)
    assert request.POST == {}
    request._files = MultiValueDict({"other": [SimpleUploadedFile("g", b"text")]})
    assert request.FILES["other"].read() == b"text"
    assert state.can_be_read_again(request)
    state.restore(request)
    assert request.FILES["other"].read() == b"text"


def test_what_an_upload_handler_makes_of_a_form_is_its_own_business() -> None:
    class Handler(FileUploadHandler):
        def handle_raw_input(self, *args: Any, **kwargs: Any) -> Any:
            return {"a": 1}, {}

    request: Any = _uploaded()
    request.upload_handlers = [Handler(request)]
    assert request.POST == {"a": 1}


def test_a_form_that_rest_framework_has_parsed() -> None:
    """It reads the stream itself in its first run, and finds Django's form in the second."""
    request: Any = _with_all()
    state = RequestState(request)
    for _ in range(3):
        data = Request(request, parsers=[parsers.MultiPartParser()]).data
        assert (data["word"], data["file"].name, data["file"].read()) == ("hello", "f", CONTENT)
        data["file"].name = "renamed"
        request.FILES.pop("file")
        assert state.can_be_read_again(request)
        state.restore(request)


# --- a form that somebody has put into the place of the request's own


def _assign(request: Any, word: str) -> None:
    request.POST = QueryDict(mutable=True)
    request.POST["word"] = word


def _json() -> Any:
    return RequestFactory().post("/", b"{}", content_type="application/json")


def _form() -> Any:
    return RequestFactory().post("/", "word=sent", "application/x-www-form-urlencoded")


@pytest.mark.parametrize("make", [_json, _form, _with_all])
def test_a_form_of_somebodys_own_is_there_each_time(make: Callable[[], Any]) -> None:
    request = make()
    _assign(request, "own")
    state = RequestState(request)
    for run in range(3):
        assert request.POST["word"] == "own", run
        request.POST["word"] = "changed"
        state.restore(request)


def test_it_may_take_the_place_of_one_with_files() -> None:
    """Which are still those of the request."""
    request = _with_all()
    assert request.POST["word"] == "hello"
    _assign(request, "own")
    state = RequestState(request)
    for run in range(3):
        assert request.POST["word"] == "own", run
        assert _file(request).read() == CONTENT, run
        request.POST["word"] = "changed"
        state.restore(request)
    request.close()


def test_files_of_somebodys_own_are_there_each_time() -> None:
    request = _json()
    _assign(request, "own")
    request._files = MultiValueDict({"file": [SimpleUploadedFile("f", CONTENT)]})
    state = RequestState(request)
    for run in range(3):
        assert _file(request).read() == CONTENT, run
        request.FILES.clear()
        state.restore(request)
