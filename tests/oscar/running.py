"""Oscar as a process: made once, copied for each run, served by gunicorn."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from gate.demo.processes import DidNotStart, end, launch, tail, wait_for

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "oscar"


def furnished(pieces: int) -> Path:
    """A database with every table made and ``pieces`` of each product; making it takes some ten seconds, so it is kept."""
    recipe = (HERE / "shop" / "furnish.py").read_bytes() + (HERE / "shop" / "settings.py").read_bytes()
    digest = hashlib.sha256(recipe + f"{version('django-oscar')} {version('django')} {pieces}".encode()).hexdigest()[:16]
    done = CACHE / f"{digest}.sqlite3"
    if not done.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "shop.furnish", str(pieces)],
                check=False,
                cwd=HERE,
                env={**os.environ, "OSCAR_DATA": scratch},
                capture_output=True,
                text=True,
                timeout=300,
            )
            if made.returncode != 0:
                raise DidNotStart(f"Oscar's database could not be made:\n{made.stderr}")
            (Path(scratch) / "shop.sqlite3").replace(done)
    return done


class OscarShop:
    """``start`` it, visit :attr:`url`, ``stop`` it."""

    def __init__(self, directory: Path, *, port: int, pieces: int = 5) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "oscar.log"
        self._directory = directory
        self._pieces = pieces
        self._bind = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises :class:`DidNotStart`."""
        database = self._directory / "shop.sqlite3"
        if not database.exists():
            shutil.copyfile(furnished(self._pieces), database)
        self._process = launch(
            [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "--bind", self._bind, "shop.wsgi"],
            log=self.log,
            cwd=HERE,
            env={"OSCAR_DATA": str(self._directory), "OSCAR_PARENT": str(os.getpid())},
        )
        wait_for(f"{self.url}/healthz", self._process, self.log, within=60)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)

    def said(self) -> str:
        return tail(self.log, 40)
