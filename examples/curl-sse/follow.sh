#!/usr/bin/env bash
# Follows a relay by server-sent events: one line of JSON an `events` frame, to the end of the world. What is lost with a
# connection comes with the next one: each frame has a cursor, and the relay goes on from it.
#
# usage: follow.sh [URL of /events, with filters in its query]
set -euo pipefail

url=${1:-http://127.0.0.1:8080/events?topics=operations&snapshot=false}
cursor=
wait_ms=1000

# One connection, frame by frame: a blank line ends a frame.
follow() {
    local line kind= data= id=
    while IFS= read -r line; do
        line=${line%$'\r'}
        case $line in
            event:*) kind=${line#event:} kind=${kind# } ;;
            data:*) data=${line#data:} data=${data# } ;;
            id:*) id=${line#id:} id=${id# } ;;
            retry:*) wait_ms=${line#retry:} wait_ms=${wait_ms# } ;;
            "")
                [[ $kind == events ]] && printf '%s\n' "$data"
                [[ $kind == reset ]] && echo "not everything could be kept: $data" >&2
                # What the frame said is done with: only now is its cursor ours. That of `subscribed` is where the
                # missed events end, not begin: it counts only where nothing was missed, because this is the beginning.
                [[ -n $id && ($kind != subscribed || (-z $cursor && $url == *snapshot=false* && $url != *since=*)) ]] && cursor=$id
                kind='' data='' id=''
                ;;
        esac
    done
}

while :; do
    header=()
    [[ -n $cursor ]] && header=(--header "Last-Event-ID: $cursor")
    # --no-buffer: each line when it comes. A subshell would keep the cursor to itself, hence no pipe.
    follow < <(curl --silent --show-error --fail --no-buffer "${header[@]}" "$url")
    sleep "$((wait_ms / 1000)).$(printf '%03d' $((wait_ms % 1000)))"
done
