"""The peer of `ephemera bench jobs`: RapidOCR in a Celery worker, on a Redis of its own.

The worker has two processes, takes one task ahead for each, acknowledges late and never renews its processes, so that a
process keeps its engine. Needs `celery_rapidocr.txt` and Debian's redis-server. What is said and heard, a line each:

    > ready PID        of the worker; its children are its processes
    < FOLDER           pages to read
    > done CHARACTERS  of all pages, once every one is read and its text stored

It ends with its input.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from celery import Celery

URL = os.environ.get("CELERY_RAPIDOCR_URL", "redis://127.0.0.1:1/0")
# Threads of onnxruntime in each process. RapidOCR's own default is all cores; two processes with one each are no slower on two cores.
THREADS = int(os.environ.get("CELERY_RAPIDOCR_THREADS", "1"))
# How long the worker may take to answer, and all pages of a folder to be read, in seconds.
START_S, FOLDER_S = 120, 4 * 3600

app = Celery("celery_rapidocr", broker=URL, backend=URL)
app.conf.update(
    worker_concurrency=2,
    worker_pool="prefork",
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    worker_max_tasks_per_child=None,
)


@cache
def engine():
    """One in each process, loaded by its first page."""
    from rapidocr import RapidOCR

    return RapidOCR(params={"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": THREADS})


@app.task
def read(path: str) -> str:
    return "\n".join(engine()(path).txts or ())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(worker: subprocess.Popen) -> None:
    until = time.monotonic() + START_S
    while not app.control.ping(timeout=1):
        if worker.poll() is not None or time.monotonic() > until:
            sys.exit("the worker does not answer")
    print("ready", worker.pid, flush=True)
    for line in sys.stdin:
        pages = sorted(Path(line.rstrip("\n")).iterdir())
        results = [read.delay(str(page)) for page in pages]
        print("done", sum(len(result.get(timeout=FOLDER_S)) for result in results), flush=True)


def main() -> None:
    # So that what was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # The worker imports this file again, with the address in its environment.
        os.environ["CELERY_RAPIDOCR_URL"] = url
        app.conf.update(broker_url=url, result_backend=url)
        command = [sys.executable, "-m", "celery", "--app", "celery_rapidocr", "worker", "--loglevel", "error"]
        worker = subprocess.Popen(command, cwd=Path(__file__).parent, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            serve(worker)
        finally:
            worker.terminate()
            worker.wait()
            redis.terminate()
            redis.wait()


if __name__ == "__main__":
    main()
