#!/bin/bash
# Packs what makes a PC a node of one cluster:
# image/cluster.sh CACHE_DIRECTORY KEY|- PARAMETERS INCLUDE|- SSH_KEY|- OUTPUT
#
# A second archive, which boot loaders give to the kernel after the node's root (initramfs.sh): so that the
# root can be handed to anybody. KEY is the file of the cluster key, `-` for an image without one; PARAMETERS
# are words as on the kernel command line, may be empty; INCLUDE is a directory whose files are added as seen
# from /; SSH_KEY is a public key.
set -euo pipefail

cache=$(realpath "$1")
key=$2 parameters=$3 include=$4 ssh_key=$5 output=$6
here=$(dirname "$(realpath "$0")")

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
mkdir -p "$root/etc/limosa"
if [[ $include != - ]]; then
	cp -r --preserve=mode,links "$include/." "$root/"
fi
if [[ $key != - ]]; then
	install -m 600 "$key" "$root/etc/limosa/cluster.key"
fi
if [[ -n $parameters ]]; then
	echo "$parameters" >"$root/etc/limosa/parameters"
fi
if [[ $ssh_key != - ]]; then
	# In etc/dropbear the server puts the key that it makes itself for this boot.
	mkdir -p -m 700 "$root/root" "$root/root/.ssh" "$root/etc/dropbear"
	install -m 600 "$ssh_key" "$root/root/.ssh/authorized_keys"
	cp -r "$cache/ssh/." "$root/"
fi
# The directory modes of the node's root hold where both archives have one.
find "$root" -type d ! -path "$root/root*" -exec chmod 755 {} +
if [[ -d $root/tmp ]]; then chmod 1777 "$root/tmp"; fi
# There is a secret in it.
umask 077
"$here/pack.sh" "$root" "$output"
