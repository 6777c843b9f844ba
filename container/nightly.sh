#!/bin/sh
# Runs `hydindex update` every day at HYDINDEX_AT (HH:MM in the time zone TZ; default 03:00), waiting
# up to HYDINDEX_WAIT_MINUTES (default 60) for Hydrus. With arguments, runs hydindex once with them.
set -eu

if [ $# -gt 0 ]; then
    exec hydindex "$@"
fi

at=${HYDINDEX_AT:-03:00}
case $at in
    [01][0-9]:[0-5][0-9] | 2[0-3]:[0-5][0-9]) ;;
    *)
        echo "HYDINDEX_AT must be a time like 03:00, not $at" >&2
        exit 2
        ;;
esac

# When clocks go forward, a day lacks an hour, and date rejects the times within it. Counted from the
# day before, such a time is an hour later. Days are counted at noon, which always exists.
then_on() {
    date --date "$(date --date "12:00 $1" +%F) $at" +%s 2>/dev/null ||
        date --date "$(date --date "12:00 $1 -1 day" +%F) $at 1 day" +%s
}

seconds_until_then() {
    now=$(date +%s)
    then=$(then_on today)
    if [ "$then" -le "$now" ]; then
        then=$(then_on tomorrow)
    fi
    echo $((then - now))
}

# A shell handles signals while it waits for a background child, but not during a foreground one.
child=
stop() {
    trap '' TERM INT
    if [ -n "$child" ] && kill -TERM "$child" 2>/dev/null; then
        wait "$child" || true
    fi
    exit 0
}
trap stop TERM INT

[ -e "${HYDINDEX_CONFIG:-hydrus_config.json}" ] ||
    echo "There is no config yet. Run hydindex init in this volume." >&2
while true; do
    seconds=$(seconds_until_then)
    echo "The next update is at $at, in $seconds seconds"
    sleep "$seconds" &
    child=$!
    wait "$child"
    hydindex update --wait-for-client "${HYDINDEX_WAIT_MINUTES:-60}" &
    child=$!
    # An error has been printed; the next night tries again.
    wait "$child" || true
done
