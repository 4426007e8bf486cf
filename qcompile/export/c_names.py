"""Names that C and C++ accept."""

import re
from collections.abc import Sequence

# Keywords of C23 and C++20, and names that the generated C files or their headers use.
RESERVED = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
    char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
    constinit continue decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
    return short signed sizeof static static_assert static_cast struct switch template this
    thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
    virtual void volatile wchar_t while xor xor_eq linux unix errno stdin stdout stderr
    workspace memory status main printf fprintf NULL EOF
    int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t
"""

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "uint16_t",
    "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def identifier(name: str) -> str:
    """`name` as a C identifier: letters, digits and single underscores, no keyword."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "tensor"
    if plain[0].isdigit():
        plain = f"n{plain}"
    return f"{plain}_" if plain in RESERVED.split() else plain


def identifiers(names: Sequence[str], prefix: str) -> list[str]:
    """Identifiers for `names`, each different from the others; none begins with `prefix`."""
    taken: list[str] = []
    for name in names:
        plain = identifier(name)
        plain = candidate = f"of_{plain}" if plain.startswith(prefix) else plain
        number = 2
        while candidate in taken:
            candidate, number = f"{plain}_{number}", number + 1
        taken.append(candidate)
    return taken
