#!/bin/bash
# Packs the node's root: image/initramfs.sh CACHE_DIRECTORY INIT LIMOSA KEY|- PARAMETERS OUTPUT
#
# INIT and LIMOSA are the two static binaries. KEY is the file of the cluster key, `-` for an image without
# one; PARAMETERS are words as on the kernel command line, may be empty. The same input gives the same
# bytes: names sorted, one date, one owner.
set -euo pipefail

cache=$(realpath "$1")
init=$2 limosa=$3 key=$4 parameters=$5 output=$6
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
if [[ $key != - ]]; then
	install -m 600 "$key" "$root/etc/limosa/cluster.key"
fi
if [[ -n $parameters ]]; then
	echo "$parameters" >"$root/etc/limosa/parameters"
fi

cp -r "$cache/modules/lib/modules" "$root/lib/"
awk '!/^#/ && NF { print $2 }' "$here/firmware.list" | while read -r path; do
	mkdir -p "$root/$(dirname "$path")"
	cp -r "$cache/root/$path" "$root/$path"
done

# The modes of the builder's files have no place here.
find "$root" -type d -exec chmod 755 {} +
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
find "$root/lib" "$root/etc" -type f ! -name cluster.key ! -name udhcpc -exec chmod 644 {} +
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# The kernel reads the archive's inode numbers for hard links only; --reproducible renumbers them.
(cd "$root" && find . -print0 | LC_ALL=C sort -z |
	cpio --quiet --null --create --format=newc --reproducible --owner=+0:+0) |
	zstd --quiet -19 --threads=1 --stdout >"$output.part"
mv "$output.part" "$output"
