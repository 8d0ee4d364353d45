"""A table on disk: typed values come back as they went in, and the file goes with the table."""

from pathlib import Path

import pytest

from edge_app.errors import StorageError
from edge_app.files.disk_table import DiskTable, PublishedKeys


def test_values_are_kept_by_their_types(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    path.write_bytes(b"what a killed run has left")
    with DiskTable(path, sha256=bytes, size=int) as table:
        assert table.add(b"a")
        assert not table.add(b"a")
        assert table.get(b"a") == (None, None)
        table.put(b"a", size=-(2**63))
        table.put(b"b", sha256=b"\0'; DROP TABLE entry", size=2**63 - 1)
        table.amend(b"b", size=0)
        table.amend(b"never added", size=1)
        assert table.get(b"a") == (None, -(2**63))
        assert table.get(b"b") == (b"\0'; DROP TABLE entry", 0)
        assert b"never added" not in table
        table.publish()
        assert [key in PublishedKeys(path) for key in (b"b", b"c")] == [True, False]
    assert not path.exists()


def test_a_table_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="table of files cannot be written"):
        DiskTable(tmp_path / "none" / "t.sqlite")
