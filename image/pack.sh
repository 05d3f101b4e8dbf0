#!/bin/bash
# Packs a directory into an archive as the kernel unpacks it at boot: image/pack.sh DIRECTORY OUTPUT
#
# The same files give the same bytes: names sorted, one date (SOURCE_DATE_EPOCH), one owner.
set -euo pipefail

output=$(realpath "$2")
find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# The kernel reads the archive's inode numbers for hard links only; --reproducible renumbers them.
(cd "$1" && find . -print0 | LC_ALL=C sort -z |
	cpio --quiet --null --create --format=newc --reproducible --owner=+0:+0) |
	zstd --quiet -19 --threads=1 --stdout >"$output.part"
# Boot loaders join archives end to end, and each must begin at a multiple of 4 bytes
# (Documentation/driver-api/early-userspace/buffer-format.rst).
truncate --size=%4 "$output.part"
mv "$output.part" "$output"
