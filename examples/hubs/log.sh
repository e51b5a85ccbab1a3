#!/bin/sh
# log.sh HUBS: ten readers follow one log, and every one of them gets every line.
set -eu
hubs=$1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

: >> "$hubs/log"
for n in 0 1 2 3 4 5 6 7 8 9; do
    cat "$hubs/log" > "$out/$n" &
done
until grep -q '^log: .* readers 10 ' "$hubs/ctl"; do sleep 0.1; done

i=1
while [ "$i" -le 100 ]; do
    echo "line $i" >> "$hubs/log"
    i=$((i + 1))
done

rm "$hubs/log" # the readers get what is left, then the end
wait
for n in 0 1 2 3 4 5 6 7 8 9; do
    echo "reader $n: $(wc -l < "$out/$n") lines, the last: $(tail -n 1 "$out/$n")"
done
