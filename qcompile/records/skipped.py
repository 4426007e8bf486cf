"""What was not read of a database, and why."""

from dataclasses import dataclass

EXAMPLES = 5  # corrupted lines that are named; a binary file has thousands


@dataclass(frozen=True)
class Skipped:
    """Counts of lines. `examples`: the first corrupted ones, as "file:line: what is wrong".

    `unreadable`: whole files, as "file: why".
    """

    corrupted: int = 0
    other_version: int = 0
    repeated: int = 0
    empty: int = 0
    examples: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What a user should know of: "" when nothing is missing but repeated and empty lines."""
        counts = {"corrupted": self.corrupted, "of another version": self.other_version}
        found = [f"{count} {what}" for what, count in counts.items() if count]
        notes = [f"records skipped: {', '.join(found)}"] if found else []
        notes += [f"  {example}" for example in self.examples]
        if self.corrupted > len(self.examples):
            notes.append(f"  … and {self.corrupted - len(self.examples)} more")
        return "\n".join([*notes, *(f"file skipped: {file}" for file in self.unreadable)])
