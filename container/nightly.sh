#!/bin/sh
# Runs `hydindex update` daily at HYDINDEX_AT (HH:MM in the time zone TZ; default 03:00), until stopped.
# Each update waits up to HYDINDEX_WAIT_MINUTES (default 60) for Hydrus to answer.
# With arguments, runs hydindex once with these arguments.
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

# When the clocks go forward, an hour is missing, and date refuses the times in it. Adding a day to the
# same time of the day before gives a time one hour later. Noon exists on every day.
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

# A shell handles signals at once only while it waits for a background child.
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
    # It prints its own errors; the next night tries again.
    wait "$child" || true
done
