#!/bin/sh
# Makes models/ocr-* from nothing and measures them: about fifteen minutes on one core.
# Needs Python 3.11 on Linux x86-64 and the Debian packages that `python fonts.py` lists.
set -eu
cd "$(dirname "$0")"
./venv.sh
# One thread: the order of sums, and with it the last bits of the weights, must not depend on the machine's cores.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
.venv/bin/python make.py "$@"
.venv/bin/python evaluate.py "$@"
