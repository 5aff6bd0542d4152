#!/bin/sh
# Makes models/gait-student from nothing and measures it: draws walkers, trains, exports, compares int8 with f32.
# About an hour on two cores, and minutes with a GPU. Needs Python 3.11 on Linux x86-64 and 4 GB of disk in work/gait.
#   make_gait.sh                       our weights, trained anew
#   make_gait.sh --film FRAMES         ... and what they say of 16 frames of a film (`ephemera sample CLIP --frames 16 --out FRAMES`)
set -eu
cd "$(dirname "$0")"
./venv.sh gait
out=work/gait
.venv/bin/python -m gait.train "$out"
.venv/bin/python export_gait.py --random 1 --out "$out/random" --report "$out/random-report.json"
.venv/bin/python export_gait.py --checkpoint "$out/student.pth" --ours --clips 0
.venv/bin/python evaluate_gait.py --checkpoint "$out/student.pth" --random "$out/random-report.json" --training "$out" "$@"
