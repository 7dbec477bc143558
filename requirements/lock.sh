#!/usr/bin/env bash
# Resolve pyproject.toml anew and write both locks. Run it from the repository's root, with a network.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
write() { # name, extras, sentence
    "$python" -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet ".$2"
    {
        echo "# $3 Written by requirements/lock.sh."
        "$folder/$1/bin/pip" freeze --all --exclude dailies --exclude pip --exclude wheel | sed 's/^\(torch==[0-9.]*\).*/\1/' | sort -f
    } >"requirements/$1.lock"
}
write core "" "Everything that the pipeline needs, without torch."
write all "[gpu,cluster,c2pa,test]" "Core, the image-to-video engines, the cluster's drivers, signing and the test tools."
