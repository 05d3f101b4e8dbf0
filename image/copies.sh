#!/bin/bash
# Makes a node that boots from the ISO keep the netboot files, to hand them out:
# image/copies.sh NETBOOT_DIRECTORY OUTPUT_DIRECTORY
#
# The boot loader joins the files that it is told into one input for the kernel, each filled up to a multiple
# of 4 bytes. So a file becomes an entry of an archive (cpio, newc) if the header of that entry comes before
# it. Only the headers are made here; the files are those that the loader has anyway. (GRUB 2.06 can make
# such headers by itself, but ends no name with a zero byte, which newer kernels refuse.)
#
#   OUTPUT/NAME.header   one for each file; the first also makes the directories
#   OUTPUT/end.header    what ends the archive
set -euo pipefail

netboot=$1 output=$2
files=(vmlinuz initramfs.img limosa.efi.head undionly.kpxe)

# c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum
# (Documentation/driver-api/early-userspace/buffer-format.rst)
header() { # NAME MODE SIZE
	printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s' \
		0 "$2" 0 0 1 0 "$3" 0 0 0 0 $((${#1} + 1)) 0 "$1"
	# The name's end, and up to a multiple of 4; the header has 110 bytes.
	head -c $((4 - (110 + ${#1}) % 4)) /dev/zero
}

mkdir -p "$output"
directory=
for name in usr lib limosa netboot; do
	directory+=${directory:+/}$name
	header "$directory" $((0040755)) 0
done >"$output/directories"
for name in "${files[@]}"; do
	header "$directory/$name" $((0100644)) "$(stat -c %s "$netboot/$name")" >"$output/$name.header"
done
cat "$output/directories" "$output/${files[0]}.header" >"$output/first"
mv "$output/first" "$output/${files[0]}.header"
rm "$output/directories"
header 'TRAILER!!!' 0 0 >"$output/end.header"
