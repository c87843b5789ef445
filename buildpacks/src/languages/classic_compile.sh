#!/bin/bash
# Runs classic buildpacks over the app in their order: paas-compile NUMBER|./FOLDER ...
# A number is one that was fetched, a folder one inside the app. What is built ends up in /app.
set -eu -o pipefail
build=/tmp/build cache=/tmp/paas-cache vars=/tmp/paas-meta/vars
if [ ! -d "$vars" ]; then
    vars=/tmp/no-vars
    mkdir "$vars"
fi
mkdir "$build"
cp -RP --preserve=mode,timestamps /tmp/paas-source/. "$build/"
refuse() {
    echo " !     $*" >&2
    exit 1
}
for word in "$@"; do
    case $word in
    ./*) pack=$build/${word#./} ;;
    *)
        # A copy, since some write beside themselves.
        pack=/tmp/buildpacks/$word
        mkdir -p "$pack"
        cp -RP --preserve=mode "/tmp/paas-buildpacks/$word/." "$pack/"
        ;;
    esac
    cd "$build"
    if ! name=$("$pack/bin/detect" "$build" </dev/null); then
        refuse "App not compatible with buildpack $word (its bin/detect said no)${name:+: $name}"
    fi
    echo "-----> ${name:-Buildpack $word} app detected"
    # By itself and not in a condition: there its failure would count for nothing.
    "$pack/bin/compile" "$build" "$cache" "$vars" </dev/null
    if [ -f "$pack/export" ]; then
        set +eu
        . "$pack/export"
        set -eu
    fi
done
# Of several, the last one says what runs.
mkdir -p "$build/.paas"
rm -f "$build/.paas/release.yml"
if [ -x "$pack/bin/release" ]; then
    "$pack/bin/release" "$build" </dev/null >"$build/.paas/release.yml"
fi
cd /
find /app -mindepth 1 -delete
find "$build" -mindepth 1 -maxdepth 1 -exec mv -t /app -- {} +
