"""Check that a wheel holds every source file: python check_wheel.py WHEEL PROJECT."""

import sys
import zipfile
from pathlib import Path

FOLDERS = {"qcompile": "qcompile", "passes": "qcompile/passes"} | {
    name: f"qcompile/{name}" for name in ("schedules", "targets")
}
NEEDED = ("*.py", "*.toml", "*.jsonl", "*.c", "*.h", "*.onnx", "*.npz", "*.txt", "py.typed")
FEWEST = {"*.jsonl": 1, "*.py": 60, "*.toml": 6, "*.c": 3, "*.onnx": 3, "*.npz": 1, "py.typed": 1}


def main() -> None:
    wheel, project = sys.argv[1], Path(sys.argv[2])
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    missing = []
    for pattern in NEEDED:
        expected = set()
        for folder, place in FOLDERS.items():
            for path in (project / folder).rglob(pattern):
                name = f"{place}/{path.relative_to(project / folder).as_posix()}"
                expected.add(name)
        missing += sorted(expected - held)
        if len(expected) < FEWEST.get(pattern, 0):
            sys.exit(f"only {len(expected)} files {pattern} in the project")
    if missing:
        sys.exit(f"{wheel} lacks {', '.join(missing)}")
    print(f"{Path(wheel).name}: all files are there")


if __name__ == "__main__":
    main()
