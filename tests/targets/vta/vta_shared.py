"""The shared VTA programs: instruction streams with reference images and cycles."""

import gzip
import json
from pathlib import Path

import numpy as np

from qcompile.targets.vta.config import Config
from qcompile.targets.vta.encoding import decode

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "vta_programs"
LISTED = FOLDER / "programs.json"
ENTRIES = json.loads(LISTED.read_text()) if LISTED.is_file() else []
CYCLES = {entry["name"]: entry["cycles"] for entry in ENTRIES}
WITH_IMAGES = [name for name in CYCLES if (FOLDER / name / "dram.bin.gz").is_file()]
REASON = "the folder of shared VTA programs is not here"


def program(name):
    """(configuration, instructions)"""
    folder = FOLDER / name
    config = Config.from_json(json.loads((folder / "vta_config.json").read_text()))
    return config, decode(config, (folder / "insn.bin").read_bytes())


def images(name):
    """The memory image before and after."""
    files = (FOLDER / name / f"{which}.bin.gz" for which in ("dram", "expected"))
    before, after = (np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8) for file in files)
    return before.copy(), after
