#!/bin/sh
# Says what it is run for, and ends as the config var RELEASE_END asks: 0, another status, or `hangs`.
echo "migrating for $PAAS_RELEASE as $PAAS_PROCESS"
case "${RELEASE_END:-0}" in
hangs) trap 'echo "told to end"; exit 1' TERM; while :; do sleep 0.2; done ;;
*) exit "${RELEASE_END:-0}" ;;
esac
