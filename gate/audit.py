"""Who ordered what, when: one JSON object per line in ``audit.jsonl`` of the state directory.

The store keeps the same for all gates that share it; the file is there when the store is not.
"""

import json
import os
from pathlib import Path
from typing import Any

from gate import private
from gate.core.orders import Orders, RoomOrders

FILE = "audit.jsonl"
LARGEST = 4 << 20  # bytes; then the file is set aside once, as audit.jsonl.1


def differences(before: Orders, after: Orders) -> list[str]:
    """Each thing that changed: ``room checkout: mode auto → hold``. Empty when nothing did."""
    found = [
        f"{name}: {old} → {new}"
        for name, old, new in (
            ("fallback", before.fallback, after.fallback),
            ("shedding", before.shedding, after.shedding),
        )
        if old != new
    ]
    for name in sorted({*before.rooms, *after.rooms}):
        old_room, new_room = before.room(name), after.room(name)
        for setting in RoomOrders.__dataclass_fields__:
            old, new = getattr(old_room, setting), getattr(new_room, setting)
            if old != new:
                unset = "(shop)" if setting == "left" else "(config)"
                found.append(f"room {name}: {setting} {_shown(old, unset)} → {_shown(new, unset)}")
    return found


def _shown(value: object, unset: str) -> str:
    if value is None:
        return unset
    return json.dumps(value, ensure_ascii=False) if type(value) is str else str(value)


def append(state: Path, entry: dict[str, Any]) -> None:
    """Adds one line, durably. Raises :class:`OSError`."""
    path = state / FILE
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    with private.locked(path):  # commands write too
        if path.exists() and path.stat().st_size + len(line) > LARGEST:
            path.replace(path.with_name(FILE + ".1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(state: Path, limit: int) -> list[dict[str, Any]]:
    """The last entries, newest first. A line that a crash has cut is left out."""
    lines: list[bytes] = []
    for name in (FILE, FILE + ".1"):
        try:
            lines += reversed((state / name).read_bytes().splitlines())
        except OSError:
            continue
        if len(lines) >= limit:
            break
    entries: list[dict[str, Any]] = []
    for line in lines:
        if len(entries) == limit:
            break
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
