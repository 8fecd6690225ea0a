"""Files of lines: written whole or not at all, and never in place of something that is no file."""

import os
from pathlib import Path

import pytest

from telemed.audit.proof.lines import Unreadable, replaced


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Root who exports to /dev/stdout would take it away from every program of the machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "stdout").symlink_to("pipe")
    for name in ("pipe", "stdout"):
        with pytest.raises(Unreadable, match="no file"), replaced(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "stdout").is_symlink()


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    """Whoever looks where the link leads finds what was written."""
    (tmp_path / "newest").symlink_to("november")
    for text in (b"one\n", b"two\n"):
        with replaced(tmp_path / "newest") as file:
            file.write(text)
        assert (tmp_path / "november").read_bytes() == text
    assert (tmp_path / "newest").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "november"}
