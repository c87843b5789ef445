#!/bin/sh
# A cron entry: says one line, takes TICK_SECONDS, and ends with TICK_END.
echo "tick of $PAAS_RELEASE as $PAAS_PROCESS"
sleep "${TICK_SECONDS:-0}"
echo "tock"
exit "${TICK_END:-0}"
