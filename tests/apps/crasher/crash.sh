#!/bin/sh
# Fails as an app does whose configuration is incomplete.
echo "crasher: DATABASE_URL is not set" >&2
exit 1
