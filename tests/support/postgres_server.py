"""A real PostgreSQL server for tests, on a free port of this machine."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers import free_port

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

REQUIRED = os.environ.get("MCPGUARD_REQUIRE_POSTGRES") == "1"
FOLDERS = Path("/usr/lib/postgresql")


class PostgresServer:
    """A server that can be stopped, frozen, and started again on its port with what it kept."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self.binaries, self.folder, self.user, self.port = binaries, folder, user, free_port()
        self.url = f"postgresql://mcpguard@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Make the files of a server with one database."""
        options = ["-A", "trust", "-U", "mcpguard", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run(
            [self.binaries / "initdb", "-D", self.folder, *options],
            user=self.user,
            cwd=self.folder,
            capture_output=True,
            timeout=120,
        )
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self.binaries / "postgres", "-D", self.folder, *options],
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ready = [self.binaries / "pg_isready", "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(600):
            if subprocess.run(ready).returncode == 0:
                return
            self._process.wait(0.05) if self._process.poll() is not None else _pause()
        pytest.fail("postgres does not answer")

    def stop(self) -> None:
        """End it at once, as a crash does; what was committed stays."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def freeze(self) -> None:
        """Let it answer nothing more, neither what is connected nor what would connect."""
        with psycopg.connect(self.url) as client:
            found = client.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'mcpguard'")
            self._frozen = [pid for (pid,) in found]
        for pid in (self._process.pid, *self._frozen):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in (self._process.pid, *self._frozen):
            os.kill(pid, signal.SIGCONT)

    def shown(self, setting: str) -> str:
        """A setting, as a new connection finds it."""
        with psycopg.connect(self.url) as client:
            (value,) = client.execute("SELECT current_setting(%s)", (setting,)).fetchone() or ("",)
            return str(value)

    def run(self, statement: str, *values: object) -> int:
        """Run a statement from outside, and return how many rows it met."""
        with psycopg.connect(self.url, autocommit=True) as client:
            return client.execute(statement, values).rowcount  # type: ignore[arg-type]


def _pause() -> None:
    """A fraction of the patience above."""
    signal.sigtimedwait([], 0.05)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """The newest server there is; the test is skipped where there is none, or fails where one is required."""
    found = shutil.which("postgres")
    installed = sorted(FOLDERS.glob("*/bin/postgres"), key=lambda one: int(one.parts[-3]))
    binary = Path(found).resolve() if found else installed[-1] if installed else None
    if binary is None or psycopg is None:
        if REQUIRED:
            pytest.fail("postgres and the package psycopg are needed, and MCPGUARD_REQUIRE_POSTGRES=1")
        pytest.skip("postgres and the package psycopg are needed")
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="mcpguard-") as name:
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        Path(name).chmod(0o755)
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        server = PostgresServer(binary.parent, folder, user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
