"""A table that goes between two marks of a document."""

import re
from pathlib import Path

from edge_app.errors import UsageError
from edge_app.files.whole import write_whole


def put_between(path: Path, name: str, table: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        UsageError: the document has no such marks, or several.
    """
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text = path.read_text(encoding="utf-8")
    filled, count = block.subn(lambda match: match[1] + table + match[2], text)
    if count != 1:
        raise UsageError(f"{path}: has no <!-- {name} --> and <!-- /{name} --> to put it between")
    write_whole(path, [filled])
