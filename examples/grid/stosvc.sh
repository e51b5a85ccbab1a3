#!/bin/sh
# stosvc.sh --config FILE: the dispatcher of a storage node, in place of stosvc (stosvc=PATH in the node's
# file). Requests are files in $GRID_HOME/requests/queued, put there by the node for users that it knows
# by their keys; what comes through the hubs says only that there is something to look at.
set -uf
hubs=$GRID_HUBS home=$GRID_HOME
[ "$1" = --config ] && config=$2
queue=$home/requests
environments=$home/environments
peers=$home/config/spawngrid/ndb
work=$(mktemp -d)
mkdir "$work/nodes" "$work/pending" "$work/waiting" "$work/wanted" "$work/admitted"
mkfifo "$work/events"
trap 'trap "" TERM; rm -rf "$work"; kill 0; exit 0' TERM INT HUP
spawn_max=$(ndbquery -f "$config" sys "$GRID_NODE" spawn-max 2> /dev/null)
spawn_max=${spawn_max:-5}

# get FILE ATTR: the first value of an attribute in a file of one record
get() { tr ' \t' '\n\n' < "$1" | sed -n "s/^$2=//p" | sed 1q; }
# value ATTR WORD...: the value among words attr=value
value() {
    attr=$1
    shift
    for word; do case $word in "$attr="*) echo "${word#*=}" && return ;; esac; done
}
names() { # WORD USER WORDS...: what one of the users may see and do
    word=$1 of=$2
    shift 2
    grid names "$word" --config "$config" -u "$of" "$@"
}
score_of() { names show "$1" "$2" 2> /dev/null | sed -n 's/^rootscore: *//p'; } # USER NAME
key_of() { ndbquery -f "$peers" user "$1" pubkey 2> /dev/null | grep . || return 1; }
tell() { echo "$1" >> "$hubs/cpu.in"; }

say() { # ID USER TEXT
    printf '\t%s\n' "$3" >> "$queue/answers/$1"
    echo "$1 $3" >> "$hubs/out/$2"
}
end() { # ID USER [STATUS TEXT]
    [ -e "$queue/queued/$1" ] || return 0
    if [ $# -gt 2 ]; then what="failed $3 $4"; else what=done; fi
    echo "$what" >> "$queue/answers/$1"
    sync "$queue/answers/$1"
    mv "$queue/queued/$1" "$queue/done/$1"
    echo "$1 $what" >> "$hubs/out/$2"
}

# keep ID USER ALIAS NAME SCORE NODE STATE TIME OPTIONS INVITED: the record of an environment, whole or not at all
keep() {
    {
        echo "environment=$1 user=$2 as=$3"
        echo "	name=$4 score=$5"
        echo "	node=$6 state=$7 time=$8"
        [ -z "$9" ] || echo "	$(for o in $9; do printf 'o-%s ' "$o"; done)"
        [ -z "${10}" ] || echo "	$(for i in ${10}; do printf 'invited=%s ' "$i"; done)"
    } > "$environments/.$1"
    sync "$environments/.$1"
    mv "$environments/.$1" "$environments/$1"
}
options_of() { tr ' \t' '\n\n' < "$environments/$1" | sed -n 's/^o-//p' | tr '\n' ' '; }
invited_of() { tr ' \t' '\n\n' < "$environments/$1" | sed -n 's/^invited=//p' | tr '\n' ' '; }
load() { # ID: its record into variables
    f=$environments/$1
    e_id=$1 e_user=$(get "$f" user) e_alias=$(get "$f" as) e_name=$(get "$f" name)
    e_score=$(get "$f" score) e_node=$(get "$f" node) e_state=$(get "$f" state) e_time=$(get "$f" time)
    e_options=$(options_of "$1") e_invited=$(invited_of "$1")
}
state() { # ID STATE: the record says so from now on
    load "$1"
    keep "$1" "$e_user" "$e_alias" "$e_name" "$e_score" "$e_node" "$2" "$e_time" "$e_options" "$e_invited"
}
own() { # USER ALIAS: load the environment of that name which this user owns
    for e in $(ls "$environments"); do
        load "$e"
        [ "$e_user" = "$1" ] && [ "$e_alias" = "$2" ] && [ "$e_state" != booming ] && return 0
    done
    return 1
}
may_enter() { # USER: may they enter what is loaded?
    [ "$e_state" != booming ] || return 1
    [ "$e_user" = "$1" ] && return 0
    case " $e_invited " in *" $1 "*) return 0 ;; esac
    return 1
}
find_environment() { # USER ALIAS or USER OWNER/ALIAS
    case $2 in */*) ;; *) own "$1" "$2" && return 0 ;; esac
    for e in $(ls "$environments"); do
        load "$e"
        may_enter "$1" || continue
        case $2 in "$e_alias" | "$e_user/$e_alias") return 0 ;; esac
    done
    return 1
}
pend() { # ID USER VERB NODE ENVIRONMENT LINE: tell a cpu node, and again until it answers
    echo "$2 $3 $4 $5 $6" > "$work/pending/$1"
    tell "$6"
}
users() { # who may enter what is loaded, with their keys: those whom this node still knows
    comma=''
    for u in $e_user $e_invited; do
        key=$(key_of "$u") && printf '%s%s/%s' "$comma" "$u" "$key" && comma=,
    done
}
is_here() { [ -e "$work/nodes/$1" ] && [ $(($(date +%s) - $(stat -c %Y "$work/nodes/$1"))) -lt 20 ]; }
choose() { # BYTES: the node here with the most free memory, if that is enough
    for n in $(ls "$work/nodes"); do
        is_here "$n" && echo "$(get "$work/nodes/$n" free) $n"
    done | sort -rn | sed 1q | while read -r free n; do [ "$free" -ge "$1" ] && echo "$n"; done
}
bytes() { numfmt --from=iec "$1" 2> /dev/null; }

answer() { # ID USER VERB WORDS...: carry out one request
    id=$1 user=$2 verb=$3
    shift 3
    case $verb:$# in
    whoami:0) say "$id" "$user" "user=$user" && end "$id" "$user" ;;
    scores:[01])
        names ls "$user" | while read -r name _; do
            case $name in *"${1-}"*) say "$id" "$user" "$name" ;; esac
        done
        end "$id" "$user"
        ;;
    log:1)
        names ls "$user" | tac | while read -r name time owner _; do
            case $name in "$1" | "$1".*) say "$id" "$user" "name=$name time=$(date -d "$time" +%s) node= owner=$owner" ;; esac
        done
        [ -s "$queue/answers/$id" ] && end "$id" "$user" || end "$id" "$user" 4 "$1 not found for $user"
        ;;
    diff:2)
        old=$(score "$id" "$user" "$1") && new=$(score "$id" "$user" "$2") || return 0
        fossil-diff "$old" "$new" | while read -r line; do say "$id" "$user" "$line"; done
        end "$id" "$user"
        ;;
    share:2 | unshare:2)
        key_of "$1" > /dev/null || { end "$id" "$user" 4 "$1: no such user" && return; }
        score "$id" "$user" "$2" > /dev/null || return 0
        why=$(names "$verb" "$user" "$2" "$1" 2>&1) || {
            end "$id" "$user" 1 "$why" && return
        }
        say "$id" "$user" "$2 ${verb}d with $1" && end "$id" "$user"
        ;;
    spawn:* | spawndisk:*) spawn "$id" "$user" "$verb" "$@" ;;
    save:2 | savedisk:2)
        own "$user" "$1" || { end "$id" "$user" 4 "$1 not owned by $user" && return; }
        case $2 in *[!A-Za-z0-9_.+-]* | [.-]*) end "$id" "$user" 2 "'$2' cannot be a name" && return ;; esac
        pend "$id" "$user" save "$e_node" "$e_id" "save $id $e_id node=$e_node"
        ;;
    invite:2 | uninvite:2)
        own "$user" "$2" || { end "$id" "$user" 4 "$2 not owned by $user" && return; }
        if [ "$verb" = invite ]; then
            key_of "$1" > /dev/null || { end "$id" "$user" 4 "$1: no such user" && return; }
            e_invited="$e_invited $1"
        else
            e_invited=$(echo " $e_invited " | sed "s/ $1 / /g")
        fi
        e_invited=$(echo "$e_invited" | tr ' ' '\n' | grep . | sort -u | tr '\n' ' ')
        keep "$e_id" "$e_user" "$e_alias" "$e_name" "$e_score" "$e_node" "$e_state" "$e_time" "$e_options" "$e_invited"
        users > "$work/wanted/$e_id"
        pend "$id" "$user" "$verb" "$e_node" "$e_id" "admit $id $e_id node=$e_node users=$(cat "$work/wanted/$e_id")"
        ;;
    boom:1 | kill:1)
        own "$user" "$1" || { end "$id" "$user" 4 "$1 not owned by $user" && return; }
        state "$e_id" booming
        pend "$id" "$user" boom "$e_node" "$e_id" "boom $id $e_id node=$e_node"
        ;;
    status:[01])
        say "$id" "$user" "active grid namespaces for $user"
        for e in $(ls "$environments"); do
            load "$e"
            may_enter "$user" && case ${1-$e_alias} in "$e_alias" | "$e_user/$e_alias")
                is_here "$e_node" && here=1 || here=0
                invited=$(echo $e_invited | tr ' ' ,)
                say "$id" "$user" "env=$e_alias name=$e_name node=$e_node state=$e_state owner=$e_user time=$e_time here=$here${invited:+ invited=$invited}"
                ;;
            esac
        done
        end "$id" "$user"
        ;;
    where:1)
        find_environment "$user" "$1" || { end "$id" "$user" 4 "$1: no such environment of $user" && return; }
        case $e_state in running | ended) ;; *) end "$id" "$user" 1 "$e_alias is $e_state" && return ;; esac
        is_here "$e_node" || { end "$id" "$user" 1 "cpu $e_node is not here" && return; }
        n=$work/nodes/$e_node
        say "$id" "$user" "environment=$e_id env=$e_alias owner=$e_user node=$e_node dial=$(get "$n" dial) key=$(get "$n" key)"
        end "$id" "$user"
        ;;
    nodes:0)
        for n in $(ls "$work/nodes"); do
            is_here "$n" && here=1 || here=0
            f=$work/nodes/$n
            count=$(get "$f" environments | tr , '\n' | grep -c .)
            say "$id" "$user" "node=$n here=$here free=$(get "$f" free) total=$(get "$f" total) environments=$count"
        done
        end "$id" "$user"
        ;;
    scores:* | log:* | diff:* | share:* | unshare:* | save:* | invite:* | uninvite:* | boom:* | status:* | where:* | nodes:*)
        end "$id" "$user" 2 "$verb: not so many words" ;;
    *) end "$id" "$user" 2 "unknown command" ;;
    esac
}

score() { # ID USER NAME: the score that a name means; ends the request if it means none
    score_of "$2" "$3" | grep . || {
        end "$1" "$2" 4 "$3 not found for $2"
        return 1
    }
}

spawn() { # ID USER VERB NAME OPTIONS...
    id=$1 user=$2 name=${4-}
    if [ -e "$environments/$id" ]; then # begun before this script was
        load "$id"
        case $e_state in
        starting) fetch "$id" ;;
        *) end "$id" "$user" ;;
        esac
        return
    fi
    case $name in '' | *=*) end "$id" "$user" 2 "$3 SCORENAME" && return ;; esac
    options='network=nat' wanted='' alias=$name memory=$((512 << 20))
    [ "$3" = spawndisk ] && options="$options disk=$((1 << 30))"
    shift 4
    for option; do
        what=${option%%=*} of=${option#*=}
        case $option in
        as=*) alias=$of ;;
        node=*) wanted=$of ;;
        network=none) options=$(echo "$options" | sed 's/network=nat/network=none/') ;;
        network=nat) ;;
        network=*) end "$id" "$user" 2 "$option: this grid gives nat, none" && return ;;
        limits=*) end "$id" "$user" 2 "$option: this grid does not give that" && return ;;
        disk=* | ram=* | memory=*)
            of=$(bytes "$of") || { end "$id" "$user" 2 "$option: not a size" && return; }
            [ "$what" = memory ] && memory=$of
            options="$options $what=$of"
            ;;
        cpus=[0-9]* | pids=[0-9]*) options="$options $option" ;;
        *) end "$id" "$user" 2 "$what= is no option of spawn" && return ;;
        esac
    done
    case $alias in *[!A-Za-z0-9_.@+-]* | [.-]*) end "$id" "$user" 2 "'$alias' cannot be a name" && return ;; esac
    if own "$user" "$alias"; then
        say "$id" "$user" "$alias is already being served for $user"
        end "$id" "$user" 1 "$alias is already being served"
        return
    fi
    count=0
    for e in $(ls "$environments"); do
        load "$e"
        [ "$e_user" = "$user" ] && [ "$e_state" != lost ] && count=$((count + 1))
    done
    [ "$count" -lt "$spawn_max" ] || { end "$id" "$user" 1 "spawn limit reached" && return; }
    root=$(score "$id" "$user" "$name") || return 0
    if [ -n "$wanted" ]; then is_here "$wanted" && n=$wanted || n=''; else n=$(choose "$memory"); fi
    if [ -z "$n" ]; then # wait for a node, not for long
        [ -e "$work/waiting/$id" ] || date +%s > "$work/waiting/$id"
        [ $(($(date +%s) - $(cat "$work/waiting/$id"))) -lt 12 ] || end "$id" "$user" 1 "no cpu node is here"
        return
    fi
    say "$id" "$user" "init fossil..."
    keep "$id" "$user" "$alias" "$name" "$root" "$n" starting "$(date +%s)" "$options" ""
    fetch "$id"
}

fetch() { # ID
    load "$1"
    key=$(key_of "$e_user")
    pend "$1" "$e_user" fetch "$e_node" "$1" \
        "fetch $1 $e_name $e_user $e_score node=$e_node as=$e_alias key=$key $(echo $e_options)"
}

requests() { # all that wait and are not being worked on
    for id in $(ls "$queue/queued"); do
        [ -e "$work/pending/$id" ] && continue
        f=$queue/queued/$id
        user=$(get "$f" user)
        rm -f "$queue/answers/$id"
        # the words have no quotes and no blanks in them: the node saw to that
        answer "$id" "$user" $(tr ' \t' '\n\n' < "$f" | sed -n 's/^word=//p')
    done
}

pending() { # ID: what was asked of a cpu node, into variables; false if nothing was
    [ -e "$work/pending/$1" ] || return 1
    read -r p_user p_verb p_node p_env p_line < "$work/pending/$1"
    rm "$work/pending/$1"
}

node_said() { # a line of cpu.out
    case $1 in
    here)
        # its words, as the file that `get` reads; when it was written is when the node was heard
        echo "$*" > "$work/nodes/.$2" && mv "$work/nodes/.$2" "$work/nodes/$2"
        listed=$(get "$work/nodes/$2" environments | tr , ' ')
        for e in $(ls "$environments"); do
            load "$e"
            [ "$e_node" = "$2" ] || continue
            case " $listed" in
            *" $e:ended"*) [ "$e_state" != running ] || state "$e" ended ;;
            *" $e:running"*) case $e_state in ended | lost) state "$e" running ;; esac ;;
            *)
                case $e_state in
                running | ended) state "$e" lost ;;
                booming) boomed "$e" ;;
                esac
                ;;
            esac
        done
        for e in $listed; do # what nobody knows here is taken away
            e=${e%%:*}
            [ -e "$environments/$e" ] && [ "$(get "$environments/$e" state)" != booming ] && continue
            tell "boom $e $e node=$2"
        done
        ;;
    ready)
        [ -e "$environments/$2" ] || return 0
        [ "$(get "$environments/$2" state)" = starting ] && state "$2" running
        pending "$2" || return 0
        load "$2"
        say "$2" "$p_user" "$e_alias serving on cpu $e_node" && end "$2" "$p_user"
        ;;
    failed)
        id=$2
        shift 2
        [ -e "$environments/$id" ] && [ "$(get "$environments/$id" state)" = starting ] && rm "$environments/$id"
        pending "$id" && end "$id" "$p_user" 1 "$*"
        ;;
    saved)
        id=$2 root=$3
        pending "$id" || return 0
        new=$(tr ' \t' '\n\n' < "$queue/queued/$id" | sed -n 's/^word=//p' | sed -n 3p)
        # recorded already, by one that was killed before it could say so?
        if [ "$(score_of "$p_user" "$new")" != "$root" ]; then
            why=$(names record "$p_user" "$new" "$root" 2>&1) || {
                end "$id" "$p_user" 1 "$why" && return
            }
        fi
        pause=$(value pause "$@")
        [ -z "$pause" ] || say "$id" "$p_user" "paused $pause ms"
        say "$id" "$p_user" "$new saved" && end "$id" "$p_user"
        ;;
    boomed) boomed "$2" ;;
    admitted)
        read -r _ _ _ p_env _ 2> /dev/null < "$work/pending/$2" || p_env=$2
        printf %s "$(value users "$@")" > "$work/admitted/$p_env"
        pending "$2" || return 0
        load "$p_env"
        other=$(tr ' \t' '\n\n' < "$queue/queued/$2" | sed -n 's/^word=//p' | sed -n 2p)
        [ "$p_verb" = invite ] && may=may || may='may no longer'
        say "$2" "$p_user" "$other $may attach $e_alias" && end "$2" "$p_user"
        ;;
    esac
}

boomed() { # ENVIRONMENT
    [ -e "$environments/$1" ] || return 0
    load "$1"
    case $e_state in booming | lost) ;; *) return 0 ;; esac
    for id in $(ls "$work/pending"); do
        read -r p_user p_verb _ p_env _ < "$work/pending/$id"
        [ "$p_env" = "$1" ] || continue
        rm "$work/pending/$id"
        case $p_verb in
        boom) say "$id" "$p_user" "$e_alias BOOMed" && end "$id" "$p_user" ;;
        *) end "$id" "$p_user" 1 "$e_alias was BOOMed" ;;
        esac
    done
    rm "$environments/$1" # last: who is killed before it finds the record again
}

ticks=0
tick() {
    ticks=$((ticks + 1))
    [ $((ticks % 5)) = 0 ] || return 0
    for id in $(ls "$work/pending"); do
        read -r p_user p_verb p_node p_env p_line < "$work/pending/$id"
        [ -z "$p_line" ] || tell "$p_line"
    done
    if [ ! -e "$work/keys" ] || [ "$peers" -nt "$work/keys" ]; then
        touch "$work/keys" # somebody who may enter may be known no more, or by another key
        for e in $(ls "$environments"); do load "$e" && users > "$work/wanted/$e"; done
    fi
    for e in $(ls "$work/wanted"); do
        [ -e "$environments/$e" ] || { rm -f "$work/wanted/$e" "$work/admitted/$e" && continue; }
        cmp -s "$work/wanted/$e" "$work/admitted/$e" && continue
        load "$e"
        case $e_state in running | ended) tell "admit $e $e node=$e_node users=$(cat "$work/wanted/$e")" ;; esac
    done
}

follow() { # WORD HUB: its lines, each behind the word; a hub that goes away is opened again
    while :; do
        [ -e "$hubs/$2" ] && sed -u "s/^/$1 /" < "$hubs/$2"
        sleep 1
    done
}
follow sto sto.in > "$work/events" 2> /dev/null &
follow cpu cpu.out > "$work/events" 2> /dev/null &
while :; do
    echo tick
    sleep 1
done > "$work/events" &

tell who
while read -r from line; do
    case $from in
    cpu) node_said $line ;; # words without quotes; -f keeps * what it is
    tick) tick ;;
    esac
    requests
done < "$work/events"
