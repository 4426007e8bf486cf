"""What a worker may come across: `prepare` does what the decisions ask for."""

import ctypes
import os
import signal
import sys
import time


def prepare(function, decisions, target):
    match decisions:
        case {"fail": message}:
            raise ValueError(message)
        case {"abort": message}:
            print(message, file=sys.stderr, flush=True)
            ctypes.CDLL(None).abort()
        case {"killed": True}:
            os.kill(os.getpid(), signal.SIGKILL)
        case {"sleep": seconds}:
            time.sleep(seconds)
        case {"tell": "sys.path"}:
            raise ValueError(f"{os.getcwd()} {sys.path}")
        case {"tell": True}:
            raise ValueError(f"{target.name} {sorted(os.sched_getaffinity(0))}")
    return function
