"""Devices as data: one TOML file each, or this machine as Linux describes it."""

from qcompile.targets.architecture import Architecture
from qcompile.targets.host import host_architecture, host_features
from qcompile.targets.loader import (
    host_target,
    list_boards,
    list_processors,
    list_targets,
    load_processor,
    load_target,
)
from qcompile.targets.plugin import target_of
from qcompile.targets.target import Target
from qcompile.targets.vta.target import VtaTarget

__all__ = [
    "Architecture",
    "Target",
    "VtaTarget",
    "host_architecture",
    "host_features",
    "host_target",
    "list_boards",
    "list_processors",
    "list_targets",
    "load_processor",
    "load_target",
    "target_of",
]
