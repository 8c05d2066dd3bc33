#!/usr/bin/env bash
# One experiment on all workers of a Cloud TPU slice, from the commit that is checked out here:
#
#   tools/launch/tpu_pod.sh my-pod us-east5-b /mnt/runs simclr_v2 --config.batch=4096
#
# WORKDIR is a folder that every worker sees under the same path (Filestore, Cloud Storage FUSE).
# Run it again to go on from the last checkpoint there.
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo 'usage: tools/launch/tpu_pod.sh TPU ZONE WORKDIR SLUG [flags]' >&2
    exit 2
fi
tpu=$1 zone=$2 workdir=$3 slug=$4
shift 4

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
archive=$(mktemp -d)/jssl.tar.gz
trap 'rm -rf "$(dirname "$archive")"' EXIT
git archive --format=tar.gz -o "$archive" HEAD
gcloud compute tpus tpu-vm scp "$archive" "$tpu:" --zone="$zone" --worker=all

# The sources are laid anew so that no deleted module lingers; .venv stays and is checked.
unpack='mkdir -p jssl && cd jssl &&
find . -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} + &&
tar xzf ../jssl.tar.gz && JSSL_EXTRA=tpu tools/environment'
run=$(printf '%q ' .venv/bin/jssl run "$slug" --preset=paper --distributed --mesh=data:-1 \
    --workdir="$workdir/$slug" "$@")
gcloud compute tpus tpu-vm ssh "$tpu" --zone="$zone" --worker=all --command="$unpack && $run"
