#!/bin/bash
# Prepares what the image takes from the kernel package: image/kernel.sh CACHE_DIRECTORY
#
# 1. CACHE/modules/lib/modules/RELEASE: the drivers of drivers.list and what they need, uncompressed (the
#    initramfs is compressed as a whole, and /init then needs no decompressor), with depmod's tables
# 2. CACHE/vmlinux: the kernel's ELF file out of the bzImage; QEMU starts it without the time that
#    decompression takes (PVH)
set -euo pipefail

cache=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
release=$(<"$cache/release")
stamp=$cache/prepared-$release-$(sha256sum "$here/drivers.list" | cut -c1-16)
PATH=$PATH:/usr/sbin:/sbin

[[ -e $stamp ]] && exit 0
all=$cache/root/lib/modules/$release
picked=$cache/modules/lib/modules/$release
rm -rf "$cache/modules" "$cache"/prepared-*
mkdir -p "$picked"
depmod -b "$cache/root" "$release"

# modules.dep has for each module its file and all files that it needs, directly or not.
awk -v release="$release" '
	function name(file) { sub(/.*\//, "", file); sub(/\.ko.*/, "", file); gsub(/-/, "_", file); return file }
	FILENAME ~ /modules\.builtin$/ { builtin[name($1)] = 1; next }
	FILENAME ~ /modules\.dep$/ { sub(/:/, "", $1); files[name($1)] = $0; next }
	/^#/ || NF == 0 { next }
	{
		optional = sub(/^\?/, "", $1)
		module = name($1)
		if (module in files) { count = split(files[module], file, " "); for (i = 1; i <= count; i++) print file[i] }
		else if (!(module in builtin) && !optional) {
			print "drivers.list: kernel " release " has no driver " $1 > "/dev/stderr"
			failed = 1
		}
	}
	END { exit failed }
' "$all/modules.builtin" "$all/modules.dep" "$here/drivers.list" >"$cache/modules.files"
sort -u "$cache/modules.files" | while read -r file; do
	target=$picked/${file%.xz}
	mkdir -p "$(dirname "$target")"
	case $file in
	*.xz) xz -dc "$all/$file" >"$target" ;;
	*) cp "$all/$file" "$target" ;;
	esac
done
cp "$all"/modules.{builtin,builtin.modinfo,order} "$picked"
depmod -b "$cache/modules" "$release"
find "$picked" -maxdepth 1 -name 'modules.*' \
	! -name modules.alias ! -name modules.dep ! -name modules.softdep -delete

# Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset and payload_length at 0x248.
# The build appends the uncompressed size (4 bytes) to the payload.
image=$cache/root/boot/vmlinuz-$release
number() { od -An -v -t "u$2" -j "$1" -N "$2" --endian=little "$image" | tr -d ' '; }
offset=$((($(number 0x1f1 1) + 1) * 512 + $(number 0x248 4)))
length=$(($(number 0x24c 4) - 4))
payload() { dd if="$image" bs=64K iflag=skip_bytes,count_bytes skip=$offset count=$length status=none; }
magic=$(od -An -t x1 -j $offset -N 4 "$image" | tr -d ' ')
case $magic in
02214c18) payload | lz4 -dc >"$cache/vmlinux" ;;
fd377a58) payload | xz -dc --single-stream >"$cache/vmlinux" ;;
28b52ffd) payload | zstd -dc >"$cache/vmlinux" ;;
*)
	echo "the kernel $image is compressed in an unknown way ($magic)" >&2
	exit 1
	;;
esac
touch "$stamp"
