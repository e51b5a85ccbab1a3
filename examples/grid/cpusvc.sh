#!/bin/sh
# cpusvc.sh --config FILE: the dispatcher of a cpu node, in place of cpusvc (cpusvc=PATH in the node's file).
#
# A line of cpu.in that is for this node goes to `grid node env do`, whose answer goes to cpu.out. Every few
# seconds a line says what this node is and runs. Lines may come again: doing one again has the same end.
set -uf
hubs=$GRID_HUBS node=$GRID_NODE
[ "$1" = --config ] && config=$2
work=$(mktemp -d)
trap 'trap "" TERM; rm -rf "$work"; kill 0; exit 0' TERM INT HUP
mkfifo "$work/events"

say() { echo "$1" >> "$hubs/cpu.out"; }
here() { say "$(grid node env here --config "$config")"; }

# what a killed cpusvc left is put in order before anything is done
grid node env mend --config "$config" > /dev/null

# two sources of events, one pipe; a hub that goes away is opened again
while :; do
    [ -e "$hubs/cpu.in" ] && sed -u 's/^/in /' < "$hubs/cpu.in"
    sleep 1
done > "$work/events" 2> /dev/null &
while :; do
    echo tick
    sleep 3
done > "$work/events" &

while read -r from line; do
    case $from in
    tick)
        here
        continue
        ;;
    esac
    case " $line " in
    " who ") here ;;
    *" node=$node "*)
        # the words have no quotes and no blanks in them: grid checks it again
        say "$(grid node env do --config "$config" -- $line)"
        here
        ;;
    esac
done < "$work/events"
