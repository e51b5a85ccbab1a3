#!/bin/sh
# fetchroot.sh SCORE NAME LISTEN: the original's start of an environment, line by line, with our commands.
#
#     rfork V                                    a directory of its own, in place of /srv
#     srv $dialstring boot                       the root, mounted from the store: writable at once
#     hub -b -z $hubname                         hubs with a shell behind them
#     mount /zrv/$hubname /n/h                   (they are files already)
#     echo 'auth/newns' >>/n/h/io0               the shell enters the root
#     cat /bin/startsrvs >>/n/h/io0              the root's own services
#     echo 'aux/listen1 ...' >>/n/h/io0          the listener: who has right=hub may attach
#     chmod 660 /srv/boot; chgrp -o $user ...    nobody else reaches the files
#
# It shows how the parts fit together. `grid spawn` does the same, and holds what runs inside to limits, with
# ids, a network and system calls of its own: here the root's programs have the rights of who runs this.
set -eu
score=$1 name=$2 listen=$3

srv=$(mktemp -d "${TMPDIR:-/tmp}/$name.XXXXXX") # 0700: the last two lines of the original
mkdir "$srv/boot" "$srv/h"

fossil-mount --ram "$score" "$srv/boot"

hubfs --listen "$listen" -s "$name" "$srv/h"
hub -b "$srv/h" io
# one read of the shell gets one line: the rest is for the shell that takes its place
echo 'messages io0' >> "$srv/h/ctl"

echo "exec unshare --mount --pid --uts --ipc --fork --mount-proc --root='$srv/boot' --wd=/ /bin/sh -i" >> "$srv/h/io0"
echo "hostname '$name'" >> "$srv/h/io0"
if [ -e "$srv/boot/etc/spawn.rc" ]; then cat "$srv/boot/etc/spawn.rc" >> "$srv/h/io0"; fi

echo "$srv"
