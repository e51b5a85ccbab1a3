#!/bin/sh
# share.sh HUBS: two people share a shell, here by what two scripts would type.
set -eu
hubs=$1
screen=$(mktemp)
trap 'rm -f "$screen"' EXIT

hub -b "$hubs" shared
cat "$hubs/shared1" > "$screen" &
type() { echo "$1" > "$hubs/shared0"; }

type 'cd /usr; x=42' # the one
type 'echo "$x from $PWD"' # the other
until grep -q '42 from /usr' "$screen"; do sleep 0.1; done

type exit # the hubs go with the shell, which ends their readers
wait
cat "$screen"
