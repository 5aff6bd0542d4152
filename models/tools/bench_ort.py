"""Times models in onnxruntime, to set beside our own times. In: cases as JSON. Out: one JSON object a line.

    python bench_ort.py < cases.json
        cases: [{"case": "a", "runner": "ort-int8", "model": "a.onnx", "inputs": {"x": [1, 3, 224, 224]}, "runs": 20}, ...]
        Each case runs in a process of its own, once to warm up and then `runs` times:
        {"case", "runner", "median_ms", "min_ms", "peak_bytes"}; peak_bytes: the largest resident set of that process,
        interpreter and runtime included.

CPU provider, one thread, no spinning, all graph optimisations (the default). Inputs are f32 noise in -1..1, the same for
every run of a case; `runner` is a label that is given back.
"""

import json
import resource
import statistics
import subprocess
import sys
import time


def main() -> None:
    """The caller's way to run, and its child process."""
    if sys.argv[1:] == ["--one"]:
        print(json.dumps(measure(json.load(sys.stdin))))
        return
    for case in json.load(sys.stdin):
        subprocess.run([sys.executable, __file__, "--one"], input=json.dumps(case), text=True, check=True)


def measure(case: dict) -> dict:
    """The result line of one case; the whole process serves it alone."""
    run = Run(case)
    times = [run.milliseconds() for _ in range(case["runs"])]
    # Linux counts it in KiB. It would include what the parent held when it forked, so the parent imports nothing large.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"case": case["case"], "runner": case["runner"], "median_ms": round(statistics.median(times), 3),
            "min_ms": round(min(times), 3), "peak_bytes": peak}


class Run:
    """An open session with its inputs, warmed up."""

    def __init__(self, case: dict):
        import numpy as np
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.session = ort.InferenceSession(case["model"], options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(1)
        self.inputs = {k: rng.uniform(-1, 1, shape).astype(np.float32) for k, shape in case["inputs"].items()}
        self.milliseconds()

    def milliseconds(self) -> float:
        """Runs once."""
        start = time.perf_counter()
        self.session.run(None, self.inputs)
        return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
