#!/bin/sh
# chat.sh HUBS NICK [CHANNEL]: what anybody types, everybody sees. End of file leaves.
set -eu
hubs=$1 nick=$2 channel=${3:-chat}

echo "* $nick joins" >> "$hubs/$channel"
cat "$hubs/$channel" &
screen=$!
leave() {
    kill "$screen"
    echo "* $nick leaves" >> "$hubs/$channel"
}
trap leave EXIT

while read -r line; do
    echo "$nick: $line" >> "$hubs/$channel"
done
