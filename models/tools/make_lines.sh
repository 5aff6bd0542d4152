#!/bin/sh
# Trains a recogniser of ours from nothing and measures it: text, lines, training, int8, figures. A stopped run goes on where it was.
# Hours on two cores, minutes with CUDA. Needs Python 3.11 on Linux x86-64, apt-get, the packages that `python -m lines.faces` lists and
# 4 GB of disk. The weights stay in OUT; nothing is written to models/ unless TO names a folder there.
#   make_lines.sh devanagari OUT SANSKRIT            SANSKRIT: a text file, a sentence a line
#   LINES=3000000 make_lines.sh latin OUT SANSKRIT   more lines; further options of lines.train behind the three
set -eu
cd "$(dirname "$0")"
pack=${1:?a pack: devanagari or latin} out=$(realpath -m "${2:?a folder for shards and checkpoints}") sanskrit=$(realpath "${3:?a file of Sanskrit lines}")
shift 3
./venv.sh gait
python=.venv/bin/python
$python -m lines.sources "$out/text" "$sanskrit"
for set in "short 48000" "medium 120000" "long 80000" "forms 40000" "more 40000" "test-clean 1000" "test-scan 1000" "seen-clean 1000"; do
    $python -m lines.shards "$out/shards" --pack "$pack" --set "${set% *}" --count "${set#* }" --work "$out/text" --sanskrit "$sanskrit"
done
$python -m lines.train "$out/run" --pack "$pack" --shards "$out/shards" --lines "${LINES:-1000000}" "$@"
$python -m lines.export "$out/run" --shards "$out/shards" --to "${TO:-$out/ocr-recogniser-$pack}"
$python -m lines.evaluate "${TO:-$out/ocr-recogniser-$pack}" --shards "$out/shards" --run "$out/run" --tesseract "$(
    [ "$pack" = latin ] && echo eng || echo san+hin+eng)"
$python -m lines.card "${TO:-$out/ocr-recogniser-$pack}" --run "$out/run" --shards "$out/shards"
