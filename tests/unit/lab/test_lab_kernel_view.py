from __future__ import annotations

import errno
from pathlib import Path

import pytest

from boxwright.lab import kernel_view
from boxwright.lab.kernel_view import KernelView, written


@pytest.mark.parametrize(
    ("current", "content", "after"),
    [
        ("60\n", b"5\n", "5\n"),  # shorter than before: no stale tail
        ("60\n", b"5", "5\n"),
        ("60\n", b"0x10\n", "16\n"),
        ("32000\t1024000000\t500\t32000\n", b"250 32000 100 128\n", "250\t32000\t100\t128\n"),
        ("1\t2\t3\n", b"9\n", "9\t2\t3\n"),
        ("always madvise [never]\n", b"madvise\n", "always [madvise] never\n"),
        ("core\n", b"|/usr/bin/crash %p\n", "|/usr/bin/crash %p\n"),
        ("", b"1\n", "1\n"),
        ("60\n", b"5\n6\n", "5\n"),
        ("60\n", b"5\0", "5\n"),
    ],
)
def test_a_value_reads_back_as_the_kernel_shows_it(current: str, content: bytes, after: str) -> None:
    assert written(current, content) == after


@pytest.mark.parametrize(
    ("current", "content"),
    [
        ("60\n", b"abc\n"),
        ("60\n", b""),
        ("60\n", b"1 2\n"),
        ("always [never]\n", b"maybe\n"),
        ("60\n", b"\xff\n"),
    ],
)
def test_what_the_kernel_refuses_is_refused(current: str, content: bytes) -> None:
    with pytest.raises(OSError, match=r".") as refused:
        written(current, content)
    assert refused.value.errno == errno.EINVAL


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelView:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm/swappiness").write_text("60\n")
    (tmp_path / "vm/fixed").write_text("1\n")
    (tmp_path / "vm/fixed").chmod(0o444)
    monkeypatch.setattr(kernel_view, "SOURCES", {"vm": tmp_path / "vm", "thp": tmp_path / "absent"})
    return KernelView()


def test_writes_stay_in_the_view_until_a_reboot(view: KernelView, tmp_path: Path) -> None:
    view.write("vm/swappiness", b"7\n")
    assert view.read("vm/swappiness") == b"7\n"
    assert (tmp_path / "vm/swappiness").read_text() == "60\n"
    view.forget()
    assert view.read("vm/swappiness") == b"60\n"


def test_read_only_settings_stay_read_only(view: KernelView) -> None:
    with pytest.raises(PermissionError):
        view.write("vm/fixed", b"2\n")


@pytest.mark.parametrize("path", ["net/ipv4", "vm/../../etc/passwd", "vm/absent", "../vm"])
def test_nothing_outside_of_the_views_is_read(view: KernelView, path: str) -> None:
    with pytest.raises(OSError, match=r"."):
        view.read(path)


def test_a_kernel_without_huge_pages_has_no_view_of_them(view: KernelView) -> None:
    assert view.names("") == ["vm"]
