"""Keep the class of our errors when a pass written in Python raises them inside TVM."""

import tvm_ffi

from qcompile import errors


def register_errors() -> None:
    """Let TVM hand on our errors, and Ctrl-C, as what they are; calling it again is harmless.

    Without this TVM turns them into a RuntimeError.
    """
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.QCompileError):
            tvm_ffi.register_error(kind)
    tvm_ffi.register_error(KeyboardInterrupt)
