"""Puts the demo together: ports, a state directory, the shop, the gate, the screen; and takes it all down again."""

import asyncio
import contextlib
import fcntl
import multiprocessing
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Iterator
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

from gate import config, logs
from gate.demo.crowd import Crowd, watch
from gate.demo.processes import DidNotStart, ShopProcess, tail
from gate.serve import StartError, Supervisor

GATE_PORT, OPERATOR_PORT, SHOP_PORT = 8080, 8081, 9000


class CannotStart(Exception):
    """The demo cannot run here; the text says why and what to do."""


class Stage:
    """One demo. Use as a context manager: at its end nothing is left running, and no temporary file."""

    def __init__(self, *, port: int | None, state: Path | None, console: Console | None = None) -> None:
        """``port`` None: the usual one, or any free one when it is taken (so are the operator's and the shop's)."""
        self.console = console or Console()
        self._port = port
        self._kept = state
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Make ready and start the shop. Raises :class:`CannotStart`."""
        try:
            self._prepare()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def _prepare(self) -> None:
        self.directory = self._own_directory()
        usual = (GATE_PORT, OPERATOR_PORT, SHOP_PORT) if self._port is None else (self._port, 0, 0)
        gate = pick_port(self._port, usual[0], taken=set())
        operator = pick_port(None, usual[1], taken={gate})
        shop = pick_port(None, usual[2], taken={gate, operator})
        self.config_path = self.directory / "gate.yaml"
        self.config_path.write_text(demo_config(gate, operator, shop, self.directory / "gate"))
        try:
            self.settings = config.load(self.config_path)
        except config.ConfigError as error:
            raise CannotStart(str(error)) from error
        self._closing.enter_context(errors_into(self.directory / "gate.log"))
        self.shop = ShopProcess(self.directory, port=shop)
        self._closing.callback(self.shop.stop)
        try:
            with self.console.status("Opening the shop …"):
                self.shop.start()  # here, on the main thread: the kernel ties it to the thread that started it
        except DidNotStart as error:
            raise CannotStart(f"the shop does not open: {error}") from error

    def _own_directory(self) -> Path:
        if self._kept is None:
            directory = Path(tempfile.mkdtemp(prefix="gate-demo-"))
            self._closing.callback(shutil.rmtree, directory, ignore_errors=True)
            return directory
        try:
            self._kept.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self._closing.enter_context((self._kept / "demo.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"another demo is running in {self._kept}; end it, or give another --state") from None
        except OSError as error:
            raise CannotStart(f"cannot use {self._kept}: {error.strerror}; give another --state") from error
        return self._kept.resolve()

    async def play(self, *, visitors: int, seconds: float | None) -> None:
        """Start the gate, show the screen, run until Ctrl-C, SIGTERM or ``seconds`` are over. Raises :class:`CannotStart`."""
        logs.configure(self.settings.log)
        supervisor = Supervisor(self.config_path, self.settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, supervisor.ask_to_stop)
        try:
            with self.console.status("Starting the gate …"):
                await supervisor.start()
            self.console.print(
                screen(self, supervisor.new_token, _a_worker(), self.console.width), soft_wrap=True, highlight=False
            )
            crowd = Crowd(f"http://{self.settings.listen}", visitors) if visitors else None
            await _until(supervisor.wait(), crowd, self.console, seconds)
        except StartError as error:
            raise CannotStart(f"{error}\n{tail(self.directory / 'gate.log')}".strip()) from error
        finally:
            with self.console.status("Closing …"):
                await supervisor.stop()
        self.console.print("All ended." if self._kept is None else f"All ended; kept in {self.directory}", soft_wrap=True)


async def _until(asked: Awaitable[None], crowd: Crowd | None, console: Console, seconds: float | None) -> None:
    """Until somebody asks to stop, or the time is over; with a crowd on the way."""
    end = asyncio.ensure_future(asked)
    show = asyncio.create_task(watch(crowd, within=3600, console=console)) if crowd else None
    await asyncio.wait([end], timeout=seconds)
    for task in filter(None, (end, show)):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def pick_port(wanted: int | None, usual: int, *, taken: set[int]) -> int:
    """``wanted`` if given; else the usual one (0: none is), else any free one.

    Raises :class:`CannotStart` when ``wanted`` is in use.
    """
    port = usual if wanted is None else wanted
    if port and port not in taken and _is_free(port):
        return port
    if wanted is not None:
        raise CannotStart(f"port {wanted} is in use; give another --port, or none to take a free one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gate does: a closed one in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def demo_config(gate: int, operator: int, shop: int, state: Path) -> str:
    """``gate.yaml`` of the demo with these ports and this state directory in the place of the usual ones."""
    text = (files("gate.demo") / "gate.yaml").read_text(encoding="utf-8")
    for usual, actual in (
        (f"listen: 127.0.0.1:{GATE_PORT}", f"listen: 127.0.0.1:{gate}"),
        (f"listen: 127.0.0.1:{OPERATOR_PORT}", f"listen: 127.0.0.1:{operator}"),
        (f"http://127.0.0.1:{SHOP_PORT}", f"http://127.0.0.1:{shop}"),
        ("state: gate-demo", f'state: "{state}"'),
    ):
        before, found, after = text.partition(usual)
        if not found or usual in after:
            raise ValueError(f"the demo's config should say {usual!r} once")
        text = before + actual + after
    return text


def screen(stage: Stage, token: str | None, worker: int | None, width: int) -> Text:
    """What to open and what to type; two columns where ``width`` allows, else one below the other."""
    shop = f"http://{stage.settings.listen}"
    gate = command()
    text = Text()
    text.append("Floodgate is up. Ctrl-C ends all of it.\n\n", "bold green")
    where = [
        ("The shop, through the gate", shop),
        ("The operator's console", f"http://{stage.settings.operator.listen}"),
        *([("  its token, shown once", token)] if token else []),
        ("The shop itself, unprotected", stage.shop.url),
        ("What the gate logs", str(stage.directory / "gate.log")),
    ]
    for what, there in where:
        text.append(f"{what:<30}").append(f"{there}\n", "bold")
    text.append("\nIn two more terminals, so that commands find this demo:\n\n")
    text.append(f"  export GATE_CONFIG={shlex.quote(str(stage.config_path))}\n", "bold")
    crowd = (f"{gate} demo crowd 200", "a line forms; put a lantern into your cart and you have your place in it")
    tour = [
        (f"{gate} top", "who waits, who is inside, what every worker does"),
        (f"{gate} room checkout hold", "nobody new enters, nobody loses their place"),
        (f"{gate} room checkout auto --rate 600/minute", "the line runs ten times as fast"),
        (f"{gate} demo knob reviews dead", "product pages come without reviews, all else as before"),
        (f"{gate} demo knob shipping dead", "checkout goes on, with the flat rate of 7.99"),
        (f"{gate} demo knob all dead", "within 5 s the static page, with a form for an e-mail address"),
        (f"{gate} demo knob all ok", "the shop is back by itself, the line stands as it stood"),
        *([(f"kill -9 {worker}", "a worker dies and is replaced; nobody in line notices")] if worker else []),
        (f"{gate} explain {shop}/checkout", "why a request gets the answer it gets"),
    ]
    column = max(len(line) for line, _ in (crowd, *tour)) + 3
    side_by_side = 2 + column + max(len(what) for _, what in (crowd, *tour)) <= width
    for heading, lines in (
        ("In one of them, which shows the crowd for the minutes that it takes:", [crowd]),
        ("In the other, meanwhile; type, and see:", tour),
    ):
        text.append(f"\n{heading}\n\n")
        for line, what in lines:
            text.append(f"  {line:<{column}}" if side_by_side else f"  {line}\n      ", "bold").append(f"{what}\n")
    return text


def _a_worker() -> int | None:
    return next((child.pid for child in multiprocessing.active_children() if child.name == "gate-worker-0"), None)


@contextlib.contextmanager
def errors_into(log: Path) -> Iterator[None]:
    """Send standard error, ours and that of every process we start, to a file: the screen is for the tour."""
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def command() -> str:
    """How this ``gate`` is called from a shell: by name when that finds the same one."""
    here = Path(sys.executable).with_name("gate")
    found = shutil.which("gate")
    if found and here.exists() and Path(found).samefile(here):
        return "gate"
    if not here.exists():
        return f"{shlex.quote(sys.executable)} -m gate"
    with contextlib.suppress(ValueError):
        return shlex.quote(str(here.relative_to(Path.cwd())))
    return shlex.quote(str(here))
