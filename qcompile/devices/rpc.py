"""Boards that run TVM's RPC server, by the tracker that knows them."""

import json
import os
import re
import shlex
import socket
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from qcompile.devices.device import Device, Finished
from qcompile.errors import DeviceError, DeviceLost

ADDRESS = re.compile(r"rpc://(?P<host>[^/:\s]+):(?P<port>\d+)/(?P<key>[^/\s]+)")
LAST_PORT = 65_535
CONNECT_S = 10
SCRIPT, OUTPUT, MESSAGES = "qcompile.script", "qcompile.output", "qcompile.messages"
SHIM, FUNCTION = "qcompile.so", "qcompile_run"


class Rpc(Device):
    """A board by `rpc://host:port/key` of a tracker; its server removes what was uploaded.

    The server runs no programs by itself: a small library that is uploaded first does, with the
    board's shell.
    """

    def __init__(self, name: str) -> None:
        """Waits for a board of that key to be free. Raises DeviceError when there is none."""
        found = ADDRESS.fullmatch(name)
        if found is None or int(found["port"]) > LAST_PORT:
            raise DeviceError(
                f"{name}: expected rpc://host:port/key, with a port up to {LAST_PORT}"
            )
        self.name = name
        self._session: Any = _request(name, found["host"], int(found["port"]), found["key"])
        try:
            workpath = self._session.get_function("tvm.rpc.server.workpath")
            self.folder = os.path.dirname(str(workpath(SCRIPT)))
            self._function: Any = self._load_shim()
        except DeviceError:
            raise
        except Exception as error:  # TVM raises whatever comes
            raise DeviceError(f"{name}: {_first_line(error)}") from error

    def send(self, name: str, content: bytes, executable: bool = False) -> None:
        self._ask(lambda: self._session.upload(bytearray(content), name))
        place = shlex.quote(name)
        done = self.shell(f"chmod {'700' if executable else '600'} {place}; wc -c < {place}")
        if done.output.strip() != str(len(content)):
            told = done.messages.strip() or f"{done.output.strip()} of {len(content)} bytes arrived"
            raise DeviceError(f"{self.name}: {name} cannot be written: {told}")

    def fetch(self, name: str) -> bytes:
        there = self.shell(f"test -r {shlex.quote(name)}")
        if there.code != 0:
            raise DeviceError(f"{self.name}: {name} cannot be read")
        return bytes(self._ask(lambda: self._session.download(name)))

    def shell(self, script: str) -> Finished:
        # Around the answers, so that no file is empty: the server does not send those.
        lines = [f"cd {shlex.quote(self.folder)}", "echo; echo >&2", f"({script})"]
        self._ask(lambda: self._session.upload(bytearray("\n".join(lines).encode()), SCRIPT))
        status = int(self._ask(lambda: self._function()))
        output, messages = self._answer(OUTPUT), self._answer(MESSAGES)
        return Finished(os.waitstatus_to_exitcode(status), output, messages)

    def close(self) -> None:
        self._function = self._session = None

    def _answer(self, file: str) -> str:
        content = bytes(self._ask(lambda: self._session.download(file)))
        return content[1:].decode(errors="replace")

    def _ask(self, request: Callable[[], Any]) -> Any:
        if self._session is None:
            raise DeviceLost(f"{self.name}: closed")
        try:
            return request()
        except Exception as error:  # TVM raises whatever comes
            told = _first_line(error)
            raise DeviceLost(f"{self.name}: it does not answer any more ({told})") from error

    def _load_shim(self) -> Callable[[], int]:
        """The function that runs the script: of the first architecture that the server can load."""
        from qcompile.targets.architectures import ARCHITECTURES

        refusals = []
        for architecture in ARCHITECTURES.values():
            file = f"{architecture.name}.{SHIM}"
            self._session.upload(bytearray(_shim(architecture, self.folder)), file)
            try:
                function: Callable[[], int] = self._session.load_module(file)[FUNCTION]
            except Exception as error:  # of another architecture, most likely
                refusals.append(_first_line(error))
                continue
            return function
        raise DeviceError(f"{self.name}: its server loads no library: {refusals[0]}")


def _request(name: str, host: str, port: int, key: str) -> Any:
    """A session with a board. Raises DeviceError when the tracker has none of that key."""
    from tvm import rpc

    try:
        # TVM itself tries for a minute.
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        raise DeviceError(
            f"{name}: no tracker answers there ({error.strerror or error}); "
            "`python -m tvm.exec.rpc_tracker` starts one, with `pip install 'qcompile[rpc]'`"
        ) from error
    try:
        tracker = rpc.connect_tracker(host, port)
        keys = {server["key"].partition(":")[2] for server in tracker.summary()["server_info"]}
        if key in keys:
            return tracker.request(key)
    except Exception as error:  # TVM raises whatever comes
        raise DeviceError(f"{name}: {_first_line(error)}") from error
    raise DeviceError(
        f"{name}: the tracker knows no board {key!r} (it knows: {', '.join(sorted(keys)) or 'none'}"
        f"); on the board, `python -m tvm.exec.rpc_server --tracker {host}:{port} --key {key}`"
    )


def _shim(architecture: Any, folder: str) -> bytes:
    """The library for that architecture and that folder of the server."""
    from qcompile.export.toolchain import Toolchain

    script, output, messages = (
        shlex.quote(f"{folder}/{file}") for file in (SCRIPT, OUTPUT, MESSAGES)
    )
    command = f"sh {script} > {output} 2> {messages} < /dev/null"
    source = resources.files("qcompile.devices").joinpath("rpc_shim.c").read_text()
    with tempfile.TemporaryDirectory(prefix="qcompile.") as work:
        toolchain = Toolchain(architecture, Path(work), lambda message: None)
        Path(work, "shim.c").write_text(f"#define COMMAND {json.dumps(command)}\n{source}")
        toolchain.compile("shim.c", "shim.o", "-Wno-reserved-identifier")
        toolchain.link_plain(["shim.o"], "shim.so")
        return Path(work, "shim.so").read_bytes()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
