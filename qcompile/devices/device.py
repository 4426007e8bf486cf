"""What every device does: take files, run programs on them, give files back."""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from qcompile.devices.processor import FACTS, Processor, read_processor
from qcompile.errors import DeviceError


@dataclass(frozen=True)
class Finished:
    """A program that ended. `code` is 128 and the signal where one ended it, as shells say it."""

    code: int
    output: str
    messages: str


class Device(ABC):
    """An opened device with a private folder, which `close` removes. Nothing is installed on it.

    Methods raise DeviceError, and DeviceLost when the device is gone. One thread uses it at a
    time; several opened devices work side by side.
    """

    name: str
    emulated = False  # its times say nothing about the speed of any processor

    @abstractmethod
    def send(self, name: str, content: bytes, executable: bool = False) -> None:
        """Put a file into the device's folder."""

    @abstractmethod
    def fetch(self, name: str) -> bytes:
        """The content of a file of the device's folder."""

    @abstractmethod
    def shell(self, script: str) -> Finished:
        """What a line of the POSIX shell does in the device's folder."""

    @abstractmethod
    def close(self) -> None:
        """Remove the folder and end what was opened; does nothing when the device is gone."""

    def run(self, program: str, *arguments: str) -> Finished:
        """What an executable of the device's folder does."""
        return self.shell(shlex.join([f"./{program}", *arguments]))

    def processor(self) -> Processor:
        """What the device's system tells of its processor, as it is now."""
        told = self.shell(FACTS)
        if told.code != 0:
            raise DeviceError(f"{self.name}: its shell fails: {told.messages.strip()}")
        return read_processor(told.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
