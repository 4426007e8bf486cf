"""Errors a user can cause. Each message says where, what was found, and what would work."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from qcompile.search.solver.solution import Solution


class QCompileError(Exception):
    """Base of all errors that the command line reports in one message, with `exit_code`."""

    exit_code: ClassVar[int] = 1


class InvalidModel(QCompileError):
    """The ONNX file is damaged, contradictory or hostile."""


class Unsupported(QCompileError):
    """The model is valid but asks for something qcompile cannot do."""


class InvalidInput(QCompileError):
    """Arrays, names, shapes or dtypes given to a model do not fit it."""


class UnknownTarget(QCompileError):
    """No such target, or a target file that cannot be read."""


class ToolchainError(QCompileError):
    """The C compiler or linker failed."""


class BundleError(QCompileError):
    """A bundle is incomplete, damaged, or does not run on this processor."""


class Disagreement(QCompileError):
    """A compiled layer's integers are not the reference's."""


class OutputError(QCompileError):
    """A file or folder that was asked for cannot be written."""


class MissingPackage(QCompileError):
    """The request needs an optional package that is not installed."""


class ModelError(QCompileError):
    """The model of a processor knows nothing of it, lacks a tool, or its program fails."""


class DeviceError(QCompileError):
    """A device does not exist, cannot be reached, or cannot run what was asked."""


class DeviceLost(DeviceError):
    """A device that worked does not answer any more."""


class InvalidRecord(QCompileError):
    """A tuning record, or a folder of them, that cannot be used."""


class OtherFormat(InvalidRecord):
    """A tuning record in the format of another version of qcompile."""


class NotEncodable(Unsupported):
    """A VTA configuration whose instructions or micro-ops cannot be written down."""


class DoesNotFit(Unsupported):
    """A VTA configuration needs more of a resource than the device has."""


class InvalidProgram(QCompileError):
    """A VTA program breaks a rule of the instruction set; subclasses say which."""


class InvalidEncoding(InvalidProgram):
    """A field does not fit its bits, or bytes are no instruction."""


class OutOfRange(InvalidProgram):
    """An instruction reaches outside a buffer, the memory image or its operand's range."""


class UnwrittenRead(InvalidProgram):
    """An instruction reads on-chip contents that the program never wrote."""


class Race(InvalidProgram):
    """Two modules touch the same elements, and no token orders them."""


class Deadlock(InvalidProgram):
    """Modules wait for tokens, or for room in a command queue, that never come."""


class WrongTokens(InvalidProgram):
    """A token flag is illegal on its queue, or tokens are left when the program ends."""


class BufferTooSmall(Unsupported):
    """A layer does not fit an on-chip buffer of VTA, however small its tiles are."""


class NotRepresentable(Unsupported):
    """A value is none that VTA's operands can hold, in any number of digits."""


class AccumulatorOverflow(Unsupported):
    """Sums may be larger than VTA's accumulators."""


class UndefinedLoss(QCompileError):
    """The loss of a network with one layer quantized is no finite number."""


class InvalidProblem(QCompileError):
    """A problem of choosing bit widths, or its budget, that is not in the documented form."""


class Undecided(QCompileError):
    """The exact solver gave no usable answer, or none in the time it was given."""


class Infeasible(QCompileError):
    """No assignment of widths keeps all budgets; `nearest` is one that almost does.

    binding: the budget that forbids it. needs: for every budget that could be raised alone, the
    least value that makes the request feasible while the others stay.
    """

    exit_code = 3

    def __init__(
        self, message: str, binding: str, nearest: "Solution", needs: Mapping[str, float]
    ) -> None:
        super().__init__(message)
        self.binding = binding
        self.nearest = nearest
        self.needs = dict(needs)


class OutOfReach(QCompileError):
    """A search found no network that is as accurate and as cheap as was asked for."""

    exit_code = 3


class FineTuningFailed(QCompileError):
    """The user's training of a quantized network ended without a model."""
