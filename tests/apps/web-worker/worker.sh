#!/bin/sh
# Says so once a second that it works, until SIGTERM.
trap 'echo "worker stopped"; exit 0' TERM
while :; do
    echo "worked"
    sleep 1 &
    wait $!
done
