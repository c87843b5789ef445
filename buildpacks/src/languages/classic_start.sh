#!/bin/bash
# Starts a process as Heroku does: what buildpacks left in .profile.d comes first, then the app's own .profile.
export HOME=/app STACK="${STACK:-heroku-24}" DYNO="${DYNO:-${PAAS_PROCESS:-}}"
cd /app
for script in .profile.d/*.sh; do
    [ -f "$script" ] && . "$script"
done
[ -f .profile ] && . ./.profile
unset script
exec "$@"
