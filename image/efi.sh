#!/bin/bash
# Makes the one EFI program that UEFI network cards load: image/efi.sh CACHE_DIRECTORY NETBOOT_DIRECTORY
#
# systemd's EFI stub with kernel, initramfs and command line as sections (a unified kernel image):
#
#   limosa.efi       for any boot server; with cluster.img, and as secret as that
#   limosa.efi.head  all that comes before the kernel. `limosa netboot` puts head, kernel, initramfs and
#                    what it has to add together as it serves them, so that nobody needs two copies
#
# Behind the initramfs there is room for another archive (TAIL_BYTES, zeroes if unused: the kernel passes
# over them).
set -euo pipefail

cache=$(realpath "$1") netboot=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
stub=$cache/root/usr/lib/systemd/boot/efi/linuxx64.efi.stub
TAIL_BYTES=65536
PAGE_BYTES=4096

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

# The arguments of the boot menu's first entry; what is baked in differently is in cluster.img.
sed -n 's/^set node="\(.*\)"$/\1/p' "$here/grub.cfg" | tr '\n' '\0' >"$work/cmdline"
printf 'NAME=Limosa\nID=limosa\nPRETTY_NAME="Limosa node"\n' >"$work/osrel"
{
	cat "$netboot/initramfs.img"
	head -c $TAIL_BYTES /dev/zero
} >"$work/initrd"

# Sections lie one after the other from the first free page of the stub's address space.
base=$((16#$(objdump -p "$stub" | awk '$1 == "ImageBase" { print $2 }')))
next=$(objdump -h -w "$stub" | awk '$1 ~ /^[0-9]+$/ { print $3, $4 }' | while read -r size address; do
	echo $((16#$size + 16#$address))
done | sort -n | tail -n 1)
sections=()
add() { # NAME FILE
	next=$(((next + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES))
	sections+=(--add-section ".$1=$2" --change-section-vma ".$1=$next")
	next=$((next + $(stat -c %s "$2")))
}
add osrel "$work/osrel"
add cmdline "$work/cmdline"
add linux "$netboot/vmlinuz"
add initrd "$work/initrd"
((next - base < 1 << 31)) || { echo "efi.sh: the EFI program would be too large" >&2; exit 1; }
objcopy "${sections[@]}" "$stub" "$work/limosa.efi"

# objcopy writes the time of the build into the header, and a checksum over it that firmware does not read
# ("PE Format": TimeDateStamp of the COFF header, CheckSum of the optional header).
header=$(od -An -v -t u4 -j 60 -N 4 --endian=little "$work/limosa.efi" | tr -d ' ')
for field in $((header + 8)) $((header + 88)); do
	dd if=/dev/zero of="$work/limosa.efi" bs=1 count=4 seek=$field conv=notrunc status=none
done

# Where the kernel begins in the file, by the section table.
offset=$((16#$(objdump -h -w "$work/limosa.efi" | awk '$2 == ".linux" { print $6 }')))
initrd_offset=$((16#$(objdump -h -w "$work/limosa.efi" | awk '$2 == ".initrd" { print $6 }')))
head -c $offset "$work/limosa.efi" >"$netboot/limosa.efi.head"

cluster_bytes=$(stat -c %s "$netboot/cluster.img")
if ((cluster_bytes <= TAIL_BYTES)); then
	dd if="$netboot/cluster.img" of="$work/limosa.efi" bs=64K oflag=seek_bytes conv=notrunc status=none \
		seek=$((initrd_offset + $(stat -c %s "$netboot/initramfs.img")))
	mv "$work/limosa.efi" "$netboot/limosa.efi"
else
	echo "cluster.img is larger than $TAIL_BYTES bytes: no limosa.efi is made; limosa netboot cannot hand it out" >&2
	rm -f "$netboot/limosa.efi"
fi
