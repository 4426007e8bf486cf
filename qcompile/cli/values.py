"""Values of options: texts read, or refused with what they should be."""

import argparse

from qcompile.widths import MOST_BITS


def positive(text: str) -> int:
    """A number from 1 on."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 0 < number < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number


def width(text: str) -> int:
    """A number of bits."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_BITS):
        raise argparse.ArgumentTypeError(f"{text!r} is no width from 1 to {MOST_BITS}")
    return int(text)


def widths(text: str) -> tuple[int, ...]:
    """Numbers of bits, separated by commas."""
    return tuple(width(each) for each in text.split(","))


def amount(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def seed(text: str) -> int:
    """A number from 0 on."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 999999999")
    return int(text)


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """The name of an input, and its sizes."""
    name, _, sizes = text.rpartition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:1x3x224x224")
    return name, tuple(positive(size) for size in sizes.split("x"))


def peers(text: str) -> dict[str, str | None]:
    """Peers by name, with the model file of their own where they have one."""
    peers: dict[str, str | None] = {}
    for item in text.split(","):
        name, _, file = item.partition("=")
        if name not in ("onnxruntime", "openvino", "litert"):
            raise argparse.ArgumentTypeError(
                f"unknown peer {name!r}: known are onnxruntime, openvino and litert=FILE.tflite"
            )
        if (name == "litert") != bool(file):
            wanted = "litert=FILE.tflite" if name == "litert" else name
            raise argparse.ArgumentTypeError(f"{item!r}: expected {wanted}")
        peers[name] = file or None
    return peers
