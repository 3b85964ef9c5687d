"""Files of a run: written whole, each with a checksum that is compared when it is read.

``checksums.txt`` in the folder of a run has a line for each part that was written, ``<CRC-32> <first
byte> <end> <file>``: one line for a file that is written at once, one for each chunk of a table. It
only grows, a line at a time, so a run that was cut off has the checksums of all that it stored. A
line that was itself damaged is passed over, and what it spoke for is then refused. A run that was
stored before there were checksums has no such file: it is read as it is and called unverified.
"""

import os
import re
import tempfile
import zlib
from pathlib import Path
from typing import Any

from bnviz.i18n import _

CHECKSUMS = "checksums.txt"
_LINE = re.compile(r"([0-9a-f]{8}) (\d{1,18}) (\d{1,18}) (.+)")

Part = tuple[int, int, int]
"""Of a file: first byte, end, CRC-32 (https://www.rfc-editor.org/rfc/rfc1952, section 8)."""


class DamagedFile(ValueError):
    """The bytes of a file are not those that were written; says so without a remedy."""

    def __init__(self, name: str):
        super().__init__(_("the checksum of {name} differs").format(name=name))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(path)


def begin_checksums(folder: Path) -> None:
    """From now on, what is written into `folder` gets checksums. Raises OSError."""
    (folder / CHECKSUMS).touch()


def add_checksum(folder: Path, name: str, start: int, content: Any) -> None:
    """Note that `content` (bytes-like) stands in the file `name` from byte `start` on.

    Nothing in a folder without checksums. Raises OSError.
    """
    line = f"{zlib.crc32(content):08x} {start} {start + len(content)} {name}\n"
    try:
        file = os.open(folder / CHECKSUMS, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return
    try:
        os.write(file, line.encode())  # at once, so that lines of two writers never mix
    finally:
        os.close(file)


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Write the file `name` (with ``/`` between folders) of a run, whole or not at all.

    Raises OSError.
    """
    add_checksum(folder, name, 0, content)  # first: a file without a line would be refused
    write_atomically(folder / name, content)


def read_file(folder: Path, name: str) -> bytes:
    """The content of a file of a run.

    Raises OSError, FileNotFoundError among them, and DamagedFile when it is not what was written.
    """
    content = (folder / name).read_bytes()
    parts, found = checksums(folder, name), (0, len(content), zlib.crc32(content))
    # It may have been written more than once, and the last time been stopped before it was renamed.
    if parts is not None and found not in parts.get(name, []):
        raise DamagedFile(name)
    return content


def checksums(folder: Path, only: str = "") -> dict[str, list[Part]] | None:
    """The parts of each file, or `only` of one, in the order of writing; None without checksums."""
    try:
        lines = (folder / CHECKSUMS).read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    except FileNotFoundError:
        return None
    found: dict[str, list[Part]] = {}
    wanted = (line for line in lines if line.endswith(f" {only}" if only else ""))
    for line in filter(None, map(_LINE.fullmatch, wanted)):
        crc, start, end, name = line.groups()
        found.setdefault(name, []).append((int(start), int(end), int(crc, 16)))
    return found


def intact_length(name: str, content: memoryview, parts: list[Part], *, finished: bool) -> int:
    """How many bytes of a table's `content` its `parts` speak for, all of them when `finished`.

    Raises DamagedFile for other bytes than were written, and for a `finished` table that is longer
    or shorter than its parts.
    """
    end = 0
    for start, stop, crc in parts:
        if stop > len(content) and not finished:
            break
        if start != end or zlib.crc32(content[start:stop]) != crc:
            raise DamagedFile(name)
        end = stop
    if finished and end != len(content):
        raise DamagedFile(name)
    return end


def write_checksums(folder: Path) -> None:
    """Give checksums to a run that was stored without, of its files as they are. Raises OSError."""
    lines = []
    for name in stored_files(folder):
        content = (folder / name).read_bytes()
        lines.append(f"{zlib.crc32(content):08x} 0 {len(content)} {name}\n")
    write_atomically(folder / CHECKSUMS, "".join(lines).encode())


def stored_files(folder: Path) -> list[str]:
    """The names of a run's files, in order, without the checksums and what is half written."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != CHECKSUMS and not path.name.startswith(".")
    )
