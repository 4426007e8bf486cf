"""Symbols of objects that Zig compiles, for every architecture: 64 and 32 bits wide."""

import pytest

from qcompile.export.elf import hide_symbols, read_symbols
from qcompile.export.toolchain import Toolchain
from qcompile.targets.architectures import ARCHITECTURES

SOURCE = """
extern int missing(void);
__attribute__((visibility("default"))) int shown(void) { return missing(); }
__attribute__((visibility("hidden"))) int hidden = 3;
__attribute__((used)) static int own = 4;
"""
NAMES = ("missing", "shown", "hidden", "own")


@pytest.fixture(scope="module", params=list(ARCHITECTURES.values()), ids=lambda found: found.name)
def content(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elf")
    (folder / "symbols.c").write_text(SOURCE)
    Toolchain(request.param, folder, print).compile("symbols.c", "symbols.o")
    return (folder / "symbols.o").read_bytes()


def symbols(content):
    return {s.name: s for s in read_symbols(content) if s.name in NAMES}


def test_tells_what_others_may_link_to(content):
    found = symbols(content)
    facts = {name: (s.defined, s.local, s.hidden, s.exported) for name, s in found.items()}
    assert facts == {
        "missing": (False, False, False, False),
        "shown": (True, False, False, True),
        "hidden": (True, False, True, False),
        "own": (True, True, False, False),
    }


def test_hides_what_the_object_defines(content):
    changed = hide_symbols(content, {"missing": "removed"})
    found = {s.name: s for s in read_symbols(changed)}
    assert not any(s.exported for s in found.values())
    assert found["shown"].hidden and not found["removed"].hidden
    assert "missing" not in found
    # Nothing else moves: a visibility, and the seven letters of a name.
    assert len(changed) == len(content)
    different = sum(a != b for a, b in zip(content, changed, strict=True))
    assert different == 1 + sum(a != b for a, b in zip(b"missing", b"removed", strict=True))
