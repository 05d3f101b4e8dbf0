#!/bin/bash
# Packs the node's root: image/initramfs.sh CACHE_DIRECTORY INIT LIMOSA OUTPUT
#
# INIT and LIMOSA are the two static binaries. Nothing in it is secret or differs from cluster to cluster:
# that is in a second archive (cluster.sh). The same input gives the same bytes (pack.sh).
set -euo pipefail

cache=$(realpath "$1")
init=$2 limosa=$3 output=$4
here=$(dirname "$(realpath "$0")")
busybox=$cache/root/bin/busybox

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 077
mkdir -p "$root"/{bin,dev,etc/limosa,lib,mnt,proc,root,run,sbin,sys,tmp}

install -m 755 "$init" "$root/init"
ln -s ../init "$root/sbin/modprobe"
install -m 755 "$limosa" "$root/bin/limosa"
install -m 755 "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
	# modprobe is /init itself; init would be a second one.
	case $applet in busybox | init | modprobe | linuxrc) ;; *) ln -s busybox "$root/bin/$applet" ;; esac
done

cp -r "$here"/etc/. "$root/etc/"
cp -r "$cache/modules/lib/modules" "$root/lib/"
awk '!/^#/ && NF { print $2 }' "$here/firmware.list" | while read -r path; do
	mkdir -p "$root/$(dirname "$path")"
	cp -r "$cache/root/$path" "$root/$path"
done

# The modes of the builder's files have no place here.
find "$root" -type d -exec chmod 755 {} +
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
find "$root/lib" "$root/etc" -type f ! -name udhcpc -exec chmod 644 {} +
"$here/pack.sh" "$root" "$output"
