"""What stands behind the operator API of one gate: orders, audit, status, reload.

An order goes to the store, where every gate follows it, and into ``orders.json``, which this gate's workers follow while
the store is away. The highest version wins; when the store comes back, the two are made one again by :meth:`Backend.keep`.
"""

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from gate import __version__, audit, config, examination, heartbeat, keys, logs, private
from gate.core.line import Throughput
from gate.core.orders import Orders
from gate.core.settings import Settings
from gate.preview import Preview, preview_of
from gate.private import NotKept
from gate.status import DrawStatus, Status, admitted, gather, view_of
from gate.store.gates import Ring, meet
from gate.store.link import Link, StoreUnavailable
from gate.store.orders import OrdersStore
from gate.web.backend import Reload
from gate.web.emails import Emails, write_csv

ORDERS_FILE = "orders.json"
HISTORY = 150  # points of each room's recent past …
HISTORY_EVERY = 4.0  # … seconds apart: ten minutes
MEET_EVERY = 5.0  # seconds between two words to the other gates about our keys
RECALLED = 100_000  # audit entries looked through for draws that were recorded before a restart


class OrdersFile:
    """The orders of this gate in its state directory: written by the operator process, followed by the workers."""

    def __init__(self, state: Path) -> None:
        self._path = state / ORDERS_FILE
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> Orders | None:
        """As last written; None when there is no file, or none that can be read."""
        try:
            return Orders.from_json(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, RecursionError):
            return None

    def changed(self) -> Orders | None:
        """As :meth:`read` when the file is another one than the last that could be read; None when it is the same."""
        try:
            stamp = private.stamp(self._path)
        except OSError:
            return None
        found = self.read() if stamp != self._seen else None
        if found is not None:
            self._seen = stamp
        return found

    def write(self, orders: Orders) -> None:
        """Durably. Raises :class:`OSError`."""
        private.write(self._path, json.dumps(orders.to_json()).encode())


class Backend:
    """One per gate, in the operator process. ``supervisor`` is the process id that a reload signals."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path,
        link: Link,
        *,
        supervisor: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.state = settings.state.expanduser()
        self._file = OrdersFile(self.state)
        self.orders = self._file.read() or Orders()
        self._config_path = config_path
        self._store = OrdersStore(link, clock=clock)
        self._link = link
        self._met = float("-inf")  # when the other gates were last asked for their keys
        self._supervisor = supervisor
        self._clock = clock
        self._lock = asyncio.Lock()
        self._stored = False  # the store has the same orders
        self._problems: dict[str, str] = {}
        self._witnessed: set[str] | None = None  # what has been recorded of draws
        self._history: dict[str, deque[tuple[float, int]]] = {name: deque(maxlen=HISTORY) for name in settings.rooms}
        self._throughput = {name: Throughput() for name in settings.rooms}
        self._entering: dict[str, float] = {}  # visitors a second, by room, where it is known
        self._log = logs.get("gate.backend")

    # ------------------------------------------------------------------ status

    @property
    def run(self) -> Path:
        """Where the workers write their heartbeats."""
        return self.state / "run"

    @property
    def metrics(self) -> Path:
        """Where the workers count."""
        return self.run / "metrics"

    async def status(self) -> Status:
        now = self._clock()
        refused = examination.told(self.run)
        return gather(
            self.settings,
            self.orders,
            heartbeat.read(self.run, now),
            now=now,
            gate=__version__,
            stored=self._stored,
            refused=refused is not None,
            problems=[*filter(None, [refused]), *self._problems.values()],
            entering=self._entering,
        )

    def preview(self, room: str, change: Callable[[Orders], Orders]) -> Preview:
        """What ``change`` would do to the wait in ``room``. Nothing is changed."""
        now = self._clock()
        beats = heartbeat.read(self.run, now)
        changed = change(self.orders)
        before, paused = view_of(self.settings, self.orders, room, beats, now)
        after, _ = view_of(self.settings, changed, room, beats, now)
        return preview_of(before, after, now, audit.differences(self.orders, changed), paused)

    def history(self, room: str) -> list[tuple[float, int]]:
        """How many waited in ``room`` over the last ten minutes: Unix seconds and visitors, oldest first."""
        return list(self._history.get(room, ()))

    def _count(self) -> None:
        """How many enter, with or without a line."""
        now = self._clock()
        beats = heartbeat.read(self.run, now)
        self._entering = {}
        for name, throughput in self._throughput.items():
            total = admitted(name, beats, now)
            entering = None if total is None else throughput.count(now, total)
            if entering is not None:
                self._entering[name] = entering

    async def _remember(self) -> None:
        self._count()
        status = await self.status()
        if all(not points or status.time - points[-1][0] >= HISTORY_EVERY for points in self._history.values()):
            for room in status.rooms:
                self._history[room.name].append((status.time, room.waiting))
        for room in status.rooms:
            if room.draw is not None:
                self._witness(room.name, room.draw)

    def _witness(self, room: str, draw: DrawStatus) -> None:
        """What a draw promises and what came of it goes into the log and the audit, once each, for everybody to compare."""
        if draw.commitment is not None:
            self._record_once("draw_committed", f"room {room}: draw committed to {draw.commitment}", room=room)
        if draw.seed is not None:
            what = f"room {room}: {draw.drawn} drawn, seed {draw.seed}, commitment {draw.commitment}"
            self._record_once("draw_done", what, room=room)

    def _record_once(self, event: str, what: str, **about: str) -> None:
        if self._witnessed is None:  # a restart does not say it again
            self._witnessed = {str(entry.get("what")) for entry in audit.read(self.state, RECALLED)}
        if what not in self._witnessed:
            self._witnessed.add(what)
            self._record("gate", what, event, **about)

    # ------------------------------------------------------------------ orders

    async def change(self, change: Callable[[Orders], Orders], *, who: str) -> Orders:
        """The orders after ``change``, in force on every worker within 2 s. A change that changes nothing is not recorded.

        Raises :class:`NotKept`, and whatever ``change`` raises.
        """
        async with self._lock:
            base, what = self.orders, ""

            def describe(before: Orders, after: Orders) -> str:
                nonlocal base, what
                base, what = before, "; ".join(audit.differences(before, after))
                return what

            try:  # the store first: another gate may have given orders that we have not seen yet
                after = await self._store.write(change, who=who, what=describe, known=self.orders)
                self._stored = True
            except StoreUnavailable:
                self._stored = False
                after = replace(change(base), version=base.version + 1)
                if not describe(base, after):
                    return self.orders
            if after == self.orders:
                return after
            in_file = self._save(after)
            if not self._stored and not in_file:
                raise NotKept("neither the store nor the state directory takes the order")
            self.orders = after
            if what:
                self._record(who, what)
            return after

    def _save(self, orders: Orders) -> bool:
        try:
            self._file.write(orders)
        except OSError as error:
            self._problem("orders", f"The orders cannot be kept on disk ({error.strerror}); they live in the store alone.")
            return False
        self._problem("orders", None)
        return True

    async def keep(self) -> None:
        """Makes the store's orders and ours the same, remembers how many wait, records draws. To be called every second."""
        await self._remember()
        async with self._lock:
            try:
                stored = await self._store.read() or Orders()
                if stored.version < self.orders.version:  # given while the store was away, or lost by it
                    stored = await self._store.publish(self.orders)
                if stored.version == self.orders.version and stored != self.orders:
                    # Two gates took different orders while the store was away. The first one back won; its orders get a
                    # version that the workers of the other gate have not seen.
                    what = f"one of two orders {stored.version}, given while the store was away"
                    stored = await self._store.write(lambda orders: orders, who="gate", what=what)
            except StoreUnavailable:
                self._stored = False
                return
            self._stored = True
            if stored != self.orders:
                self._save(stored)
                self.orders = stored
        await self._meet()

    async def _meet(self) -> None:
        """Other gates on the same store must know our key, and we theirs."""
        now = self._clock()
        if 0 <= now - self._met < MEET_EVERY:
            return
        self._met, name = now, f"{socket.gethostname()}:{self.state}"
        try:
            file = keys.load(self.state)
            mine = Ring.of(name, file.ring(now), file.signed(now))
            others = await meet(self._link, sha256(name.encode()).hexdigest()[:12], mine, now)
        except (keys.BadKeyFile, private.Unsafe, OSError, StoreUnavailable):
            return  # said elsewhere
        strange = sorted({other.name for other in others if not mine.agrees_with(other)})
        text = "has another key ring: its visitors lose their place here, and ours there. Copy keys.json from one to the other."
        self._problem("keys", f"Gate {', '.join(strange)} {text}" if strange else None)

    # ------------------------------------------------------------------ audit

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """The last entries, newest first: the store's, of every gate, and this gate's own from the time it was away."""
        entries = audit.read(self.state, limit)
        with contextlib.suppress(StoreUnavailable):
            entries += await self._store.audit(limit)
        # the same order is in both, told at a slightly other time; what a command did has no version
        once = {(entry.get("version", entry.get("at")), entry.get("who"), entry.get("what")): entry for entry in entries}
        return sorted(once.values(), key=lambda entry: float(entry.get("at", 0)), reverse=True)[:limit]

    def _record(self, who: str, what: str, event: str = "order", **about: str) -> None:
        entry = {"at": round(self._clock(), 3), "who": who, "what": what, "version": self.orders.version}
        self._log.info(event, **entry, **about)
        try:
            audit.append(self.state, entry)
        except OSError as error:
            self._problem("audit", f"The audit file cannot be written ({error.strerror}).")
        else:
            self._problem("audit", None)

    def _problem(self, about: str, text: str | None) -> None:
        if text is None:
            self._problems.pop(about, None)
        elif self._problems.get(about) != text:
            self._problems[about] = text
            self._log.error("problem", about=about, text=text)

    # ------------------------------------------------------------------ config

    async def reload(self, *, who: str) -> Reload:
        """Has the supervisor take the config file again, if a gate can run with it."""
        report = await asyncio.to_thread(examination.examine, self._config_path)
        if report.settings is None:
            return Reload([str(problem) for problem in report.errors], [], [])
        if self._supervisor is None:
            return Reload(["this gate has no supervisor to tell; start it again"], [], [])
        os.kill(self._supervisor, signal.SIGHUP)
        self._record(who, f"config reloaded at {datetime.fromtimestamp(self._clock(), UTC):%H:%M:%S} UTC")
        need_restart = examination.need_restart(self.settings, report.settings)
        return Reload([], need_restart, [str(warning) for warning in report.warnings])

    def config(self) -> dict[str, Any]:
        """The settings in force, in the notation of the file; secrets are masked."""
        return config.dump(self.settings)

    # ------------------------------------------------------------------ e-mails

    def emails_csv(self) -> bytes:
        """The addresses that visitors left, as CSV with a header line. Blocks; for a thread."""
        table = io.StringIO(newline="")
        write_csv(Emails(self.state / "emails.db").rows(), table)
        return table.getvalue().encode()
