#!/bin/sh
# queue.sh HUBS: a job queue. Every worker sees every job; the first to make its directory does it.
set -eu
hubs=$1
taken=$(mktemp -d)
trap 'rm -rf "$taken"' EXIT

worker() {
    while read -r id job; do
        [ "$id" = end ] && break
        mkdir "$taken/$id" 2> /dev/null || continue # another worker has it
        # one write, so that no two results are mixed
        echo "job $id: $(sh -c "$job" < /dev/null)" >> "$hubs/results"
    done < "$hubs/jobs"
}

: >> "$hubs/jobs"
: >> "$hubs/results"
for name in 1 2 3; do worker & done

i=1
while [ "$i" -le 20 ]; do
    echo "$i echo \$(($i * $i))" >> "$hubs/jobs"
    i=$((i + 1))
done
echo end >> "$hubs/jobs"

head -n 20 "$hubs/results" | sort -n -k 2
wait
rm "$hubs/jobs" "$hubs/results"
