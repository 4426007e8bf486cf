"""Boards that OpenSSH reaches."""

import re
import shlex
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

from qcompile.devices.device import Finished
from qcompile.devices.remote import Remote, call, expect_program
from qcompile.errors import DeviceError

CONNECT_S, ALIVE_S, ALIVE_COUNT = 10, 5, 3  # a board that is silent for 15 seconds is gone
ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[^@/:\s-][^@/:\s]*)@)?(?P<host>[^@/:\s-][^@/:\s]*)(?::(?P<port>\d+))?/?"
)

# What ssh says, and what to do about it.
CAUSES = {
    "Host key verification failed": (
        "its host key is unknown or has changed: compare it and run `ssh {address}` once; if the "
        "board was set up anew, `ssh-keygen -R {known}` first"
    ),
    "Permission denied": (
        "it takes none of your keys: `ssh-copy-id {address}` (a key with a passphrase must be in "
        "an agent: `ssh-add`)"
    ),
    "Could not resolve hostname": "there is no host {host}: check the name",
    "Connection refused": "it runs no ssh server on that port",
    "Connection timed out": "it does not answer: is it on, and on this network?",
    "No route to host": "it does not answer: is it on, and on this network?",
    "Network is unreachable": "its network cannot be reached from here",
}


class Ssh(Remote):
    """A board by `ssh://user@host:port`, over one connection that stays open until `close`."""

    def __init__(self, name: str) -> None:
        """Raises DeviceError, which condenses what ssh says, when there is no way to it."""
        found = ADDRESS.fullmatch(name)
        if found is None:
            raise DeviceError(f"{name}: expected ssh://user@host or ssh://user@host:port")
        self.name = name
        self.host = found["host"]
        user = f"{found['user']}@" if found["user"] else ""
        port = ["-p", found["port"]] if found["port"] else []
        self.address = " ".join([*port, f"{user}{self.host}"])
        # As ssh writes it into its file of known hosts.
        self.known = f"'[{self.host}]:{found['port']}'" if found["port"] else self.host
        ssh = expect_program("ssh", "`apt-get install openssh-client` adds it")
        self._control = Path(tempfile.mkdtemp(prefix="qcompile."))
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_S,
            "ServerAliveInterval": ALIVE_S,
            "ServerAliveCountMax": ALIVE_COUNT,
            "ControlMaster": "auto",
            "ControlPath": self._control / "socket",
            "ControlPersist": 60,
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._command = [ssh, *words, *port, f"{user}{self.host}"]
        self._end = weakref.finalize(self, _end_connection, self._command, self._control)
        try:
            self.open()
        except BaseException:
            self._end()
            raise

    def send(self, name: str, content: bytes, executable: bool = False) -> None:
        mode = "700" if executable else "600"
        path = shlex.quote(f"{self._place()}/{name}")
        done = self._answer(f"cat > {path} && chmod {mode} {path}", content)
        if done.code != 0:
            raise DeviceError(f"{self.name}: {name} cannot be written: {done.messages.strip()}")

    def fetch(self, name: str) -> bytes:
        path = shlex.quote(f"{self._place()}/{name}")
        script = f"exec sh -c {shlex.quote(f'echo {name}-begin; exec cat {path}')}"
        done = subprocess.run([*self._command, script], capture_output=True, check=False)
        _, begun, content = done.stdout.partition(f"{name}-begin\n".encode())
        if done.returncode == 0 and begun:
            return content
        told = done.stderr.decode(errors="replace")
        if done.returncode == 255:
            raise self.unreachable(Finished(255, "", told))
        raise DeviceError(f"{self.name}: {name} cannot be read: {told.strip()}")

    def close(self) -> None:
        super().close()
        self._end()

    def unreachable(self, done: Finished) -> DeviceError:
        for text, cause in CAUSES.items():
            if text in done.messages and self.folder is None:
                told = cause.format(host=self.host, known=self.known, address=self.address)
                return DeviceError(f"{self.name}: {told} (ssh: {text})")
        return super().unreachable(done)

    def _ask(self, script: str, content: bytes | None = None) -> Finished:
        # The login shell may be any; what follows `exec` is quoted for all of them.
        return call([*self._command, f"exec sh -c {shlex.quote(script)}"], content)


def _end_connection(command: list[str], control: Path) -> None:
    subprocess.run([*command[:-1], "-O", "exit", command[-1]], capture_output=True, check=False)
    shutil.rmtree(control, ignore_errors=True)
