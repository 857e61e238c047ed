#!/usr/bin/env bash
# Runs a command as on a host of its own: two_hosts.sh FOLDER NAME PATHS COMMAND...
# In the network namespace NAME, with that host name; what is written below the PATHS (separated by colons) stays on this
# host. FOLDER has the files `hosts` and `ssh_config`.
set -euo pipefail
if [[ -z ${INSIDE:-} ]]; then
    INSIDE=yes exec ip netns exec "$2" unshare --uts --mount bash "$0" "$@"
fi
unset INSIDE
folder=$1 name=$2 paths=$3
shift 3
hostname "$name"
mount --bind "$folder/hosts" /etc/hosts
mount --bind "$folder/ssh_config" /etc/ssh/ssh_config
mkdir -p /run/sshd "$folder/$name"
mount -t tmpfs own "$folder/$name"
IFS=: read -ra layers <<<"$paths"
for number in "${!layers[@]}"; do
    mkdir -p "$folder/$name/$number/new" "$folder/$name/$number/work"
    mount -t overlay own -o "lowerdir=${layers[number]},upperdir=$folder/$name/$number/new,workdir=$folder/$name/$number/work" \
        "${layers[number]}"
done
cd "$PWD" # of the layer
exec "$@"
