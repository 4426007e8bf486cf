"""Batches: memory, files, and what the linker finds."""

import numpy as np
from tuning_candidates import GOOD, UNLINKABLE, VALUES, batch_in_c, in_c, local_target

from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.batch_program import make_program


def test_stores_equal_operands_once(tmp_path):
    target = local_target()
    batch = batch_in_c([GOOD] * 5, target, tmp_path)
    program = make_program(batch, [1, 2, 3, 4], target.architecture)
    (x,) = batch.reference.operands
    assert program.operands == x.tobytes()
    assert make_program(batch, [2], target.architecture).operands == x.tobytes()


def test_stores_the_beginning_of_another_operand_once(tmp_path):
    target = local_target()
    one, other = (in_c(GOOD, target, tmp_path) for _ in range(2))
    long = np.concatenate([other.operands[0], np.full(VALUES, 3, "uint8")])
    built = dict(vars(other.built), operand_bytes=(long.nbytes, VALUES))
    batch = Batch(one, (Candidate(type(other.built)(**built), (long,)),))
    assert make_program(batch, [1], target.architecture).operands == long.tobytes()


def test_keeps_different_operands_apart(tmp_path):
    target = local_target()
    one, other = (in_c(GOOD, target, tmp_path) for _ in range(2))
    (x,) = one.operands
    batch = Batch(one, (Candidate(other.built, (x[::-1].copy(),)),))
    stored = make_program(batch, [1], target.architecture).operands
    assert x.tobytes() in stored and x[::-1].tobytes() in stored


def test_names_the_candidate_that_does_not_link(tmp_path):
    target = local_target()
    batch = batch_in_c([GOOD, GOOD, UNLINKABLE, GOOD], target, tmp_path)
    program = make_program(batch, [1, 2, 3], target.architecture)
    assert list(program.failures) == [2]
    assert program.failures[2].kind == "link" and "nowhere" in program.failures[2].message
    assert program.executable.startswith(b"\x7fELF")


def test_parts_fit_into_memory(tmp_path):
    batch = batch_in_c([GOOD] * 6, local_target(), tmp_path)
    assert list(batch.parts()) == [[1, 2, 3, 4, 5]]
    assert list(batch.parts(2 * VALUES)) == [[1, 2], [3, 4], [5]]
    assert list(batch.parts(1)) == [[1], [2], [3], [4], [5]]
    assert list(Batch(batch.reference, ()).parts()) == [[]]
    shared = batch.candidates[0].operands
    alike = tuple(Candidate(one.built, shared) for one in batch.candidates)
    assert list(Batch(batch.reference, alike).parts(VALUES)) == [[1, 2, 3, 4, 5]]
