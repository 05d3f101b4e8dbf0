#!/bin/bash
# Makes the ISO: image/iso.sh NETBOOT_DIRECTORY OUTPUT
#
# One file for four ways to boot, all ending in the same boot menu (grub.cfg):
#
#   BIOS, CD       El Torito image: GRUB core i386-pc-eltorito
#   BIOS, USB      MBR boot code that loads the same core (--grub2-mbr)
#   UEFI, CD       El Torito EFI image: the small FAT file system below
#   UEFI, USB      the same as a GPT partition of type EFI system
#
# Smaller than grub-mkrescue's and, with one date and fixed ids, the same bytes every time. Nobody reads ahead over
# the end of a medium that is read by boot loaders only, so it is not padded.
set -euo pipefail

netboot=$1 output=$2
here=$(dirname "$(realpath "$0")")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
umask 077
mkdir -p "$tree/iso/boot/grub"
cp "$netboot"/{vmlinuz,initramfs.img,cluster.img,limosa.efi.head,undionly.kpxe} "$tree/iso/boot/"
"$here/copies.sh" "$netboot" "$tree/iso/boot/copies"
cp "$here/grub.cfg" "$tree/iso/boot/grub/grub.cfg"

# Both cores carry all their modules, look for the medium that has the menu, and read it.
cat >"$tree/start.cfg" <<-'MENU'
	search --no-floppy --file --set=root /boot/initramfs.img
	set prefix=($root)/boot/grub
	configfile /boot/grub/grub.cfg
MENU
modules=(configfile echo iso9660 linux minicmd normal search search_fs_file serial terminal test)
grub-mkimage -O i386-pc-eltorito -o "$tree/iso/boot/grub/bios.img" -c "$tree/start.cfg" -p /boot/grub \
	"${modules[@]}" biosdisk part_gpt part_msdos
grub-mkimage -O x86_64-efi -o "$tree/bootx64.efi" -c "$tree/start.cfg" -p /boot/grub \
	"${modules[@]}" part_gpt part_msdos fat all_video efi_gop font gfxterm

export SOURCE_DATE_EPOCH
# As large as its one file, two directories, the FATs and the root directory need.
esp=$tree/efi.img
esp_sectors=$(($(stat -c %s "$tree/bootx64.efi") / 512 + 64))
truncate -s $((esp_sectors * 512)) "$esp"
touch --date="@$SOURCE_DATE_EPOCH" "$tree/bootx64.efi"
mformat -i "$esp" -T $esp_sectors -h 2 -s 18 -c 1 -r 1 -N 4c494d4f -v LIMOSA ::
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -m -i "$esp" "$tree/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI

find "$tree/iso" -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
stamp=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)
xorriso -report_about WARNING -as mkisofs -o "$output.part" -V LIMOSA -r \
	--modification-date="$stamp" --gpt_disk_guid "4c494d4f-5341-4000-8000-000000000001" \
	-no-pad --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img \
	-b boot/grub/bios.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
	-eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot \
	-append_partition 2 0xef "$esp" -appended_part_as_gpt \
	"$tree/iso"
mv "$output.part" "$output"
