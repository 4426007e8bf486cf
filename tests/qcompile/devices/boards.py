"""A board that is this machine: an ssh server of the test's own, and a client that knows it."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv TMPDIR={folder}
"""

CLIENT = """\
#!/bin/sh
exec {ssh} -F none -o IdentityFile={folder}/{key} -o IdentitiesOnly=yes \\
    -o UserKnownHostsFile={folder}/known_hosts -o GlobalKnownHostsFile=none "$@"
"""


class Board:
    """An ssh server on this machine; `client` is a folder with an `ssh` that has its keys."""

    def __init__(self, folder: Path) -> None:
        server, self._ssh = shutil.which("sshd", path="/usr/sbin:/usr/bin"), shutil.which("ssh")
        if server is None or self._ssh is None:
            pytest.skip("no OpenSSH server and client")
        self.folder, self.port = folder, free_port()
        self.client = folder / "client"
        self.client.mkdir()
        for key in ("host_key", "key", "other_key"):
            self._keygen(key)
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        (folder / "sshd_config").write_text(CONFIG.format(port=self.port, folder=folder))
        self.know("host_key")
        self.use("key")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # which a server of root's wants
        self.address = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self._command = [server, "-D", "-e", "-f", str(folder / "sshd_config")]
        self._start()

    def restart(self, more: str) -> None:
        """Start the server anew with more in its configuration."""
        self.unplug()
        with (self.folder / "sshd_config").open("a") as config:
            config.write(more)
        self._start()

    def know(self, key: str) -> None:
        """Let the client take that key for the server's."""
        public = (self.folder / f"{key}.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")

    def use(self, key: str) -> None:
        """Let the client come with that key."""
        program = self.client / "ssh"
        program.write_text(CLIENT.format(ssh=self._ssh, folder=self.folder, key=key))
        program.chmod(0o755)

    def unplug(self) -> None:
        """End the server and all its connections; does nothing the second time."""
        if self.server.poll() is not None:
            return
        everyone = [psutil.Process(self.server.pid)]
        everyone += everyone[0].children(recursive=True)
        for process in everyone:
            process.kill()
        self.server.wait()

    def _start(self) -> None:
        self.server = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        expect_listening(self.port)

    def _keygen(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name]
        subprocess.run(command, check=True)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def expect_listening(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on port {port}")
