"""The process in which one peer framework runs: JSON questions on stdin, answers on stdout.

{"framework": ..., "model": ..., "threads": ..., "inputs": [...]}  ->  {"version": ...}
{"inferences": n}                                                  ->  {"seconds": [...]}
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

WARM_UP = 2  # inferences before each block: the process was stopped, its caches are cold
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

Inputs = dict[str, NDArray[Any]]
Inference = Callable[[], object]


def main() -> None:
    """Answer questions until there are no more, or the process that asks is gone."""
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a framework prints is no answer
    infer: Inference | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if infer is None:
                infer, number = _load(question)
                answer: dict[str, Any] = {"version": number}
            else:
                answer = {"seconds": _measure(infer, question["inferences"])}
        except ImportError as error:
            answer = {"missing": error.name or str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        print(json.dumps(answer), file=answers)


def _measure(infer: Inference, inferences: int) -> list[float]:
    for _ in range(WARM_UP):
        infer()
    seconds = []
    for _ in range(inferences):
        start = time.perf_counter()
        infer()
        seconds.append(time.perf_counter() - start)
    return seconds


def _load(question: Mapping[str, Any]) -> tuple[Inference, str]:
    """The framework's inference on fixed inputs, and its version."""
    load, package = FRAMEWORKS[question["framework"]]
    inputs = {spec["name"]: sample(spec["dtype"], spec["shape"]) for spec in question["inputs"]}
    infer = load(question["model"], question["threads"], inputs)
    infer()  # a model with other inputs fails here, before anything is measured
    return infer, version(package)


def sample(dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """Some input: floats from 0 to 1, bytes over their range, ones for indices and masks."""
    generator = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        return np.asarray(generator.random(shape), dtype)
    if np.dtype(dtype).itemsize == 1 and np.issubdtype(dtype, np.integer):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return generator.integers(low, high, shape, dtype, endpoint=True)
    return np.ones(shape, dtype)


def _onnxruntime(model: str, threads: int, inputs: Inputs) -> Inference:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _openvino(model: str, threads: int, inputs: Inputs) -> Inference:
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({name: list(array.shape) for name, array in inputs.items()})
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    tensors = {name: openvino.Tensor(array) for name, array in inputs.items()}
    return lambda: request.infer(tensors, share_inputs=True)


def _litert(model: str, threads: int, inputs: Inputs) -> Inference:
    """Its model is a file of its own, with inputs of its own."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], sample(detail["dtype"], detail["shape"]))
    return interpreter.invoke


FRAMEWORKS: dict[str, tuple[Callable[[str, int, Inputs], Inference], str]] = {
    "onnxruntime": (_onnxruntime, "onnxruntime"),
    "openvino": (_openvino, "openvino"),
    "litert": (_litert, "ai-edge-litert"),
}

if __name__ == "__main__":
    main()
