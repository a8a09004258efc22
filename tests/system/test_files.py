"""Atomic files: the old content or the new, whatever happens in between."""

from pathlib import Path

import pytest

from streaming.system.files import draft_path, replace_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_sees_the_old_content_until_the_new_is_whole(
    tmp_path: Path, *, durable: bool
) -> None:
    """The new content appears at the end of the block, and nothing else stays in the directory."""
    path = tmp_path / "file.json"
    path.write_text("old")
    with replace_file(path, durable=durable) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_content(tmp_path: Path) -> None:
    """The draft is removed, and the error is the caller's."""
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replace_file(path) as file:
        file.write(bytes(1 // 0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    """The error of the disk is raised, also if it comes when the file is closed."""
    path = tmp_path / "file.json"
    path.write_text("old")
    draft_path(path).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), replace_file(path) as file:
        file.write(b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
