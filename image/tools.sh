#!/bin/bash
# Makes sure that the programs that build the image are there: image/tools.sh WHAT KERNEL, as mkiso.sh knows them
# Root on a Debian gets what is missing by apt; anybody else is told the exact line.
set -euo pipefail

declare -A package_of=(
	[dpkg-deb]=dpkg [apt-get]=apt [depmod]=kmod [cpio]=cpio [zstd]=zstd [xz]=xz-utils
	[lz4]=lz4 [xorriso]=xorriso [mformat]=mtools [grub-mkimage]=grub-common [cc]=gcc [objcopy]=binutils
)
declare -A package_of_file=(
	[/usr/lib/grub/i386-pc/boot_hybrid.img]=grub-pc-bin
	[/usr/lib/grub/x86_64-efi/moddep.lst]=grub-efi-amd64-bin
	[/usr/lib/x86_64-linux-gnu/libc.a]=libc6-dev
	[/usr/share/keyrings/debian-archive-keyring.gpg]=debian-archive-keyring
)
if [[ ${1-} == demo ]]; then
	package_of[qemu-system-x86_64]=qemu-system-x86
fi
if [[ ${2-} == trimmed ]]; then
	package_of+=([make]=make [flex]=flex [bison]=bison [bc]=bc [perl]=perl)
	package_of_file[/usr/include/libelf.h]=libelf-dev
fi

# depmod and its like live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin
if ! command -v cargo >/dev/null; then
	echo "missing: Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer, see https://rustup.rs" >&2
	exit 1
fi
missing=()
for tool in "${!package_of[@]}"; do
	command -v "$tool" >/dev/null || missing+=("${package_of[$tool]}")
done
for file in "${!package_of_file[@]}"; do
	[[ -e $file ]] || missing+=("${package_of_file[$file]}")
done
((${#missing[@]})) || exit 0

line="apt-get install -y --no-install-recommends ${missing[*]}"
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
	echo "installing: ${missing[*]}" >&2
	apt-get update -q >&2
	DEBIAN_FRONTEND=noninteractive $line >&2
else
	echo "missing: ${missing[*]}. Install by:" >&2
	echo "  sudo $line" >&2
	exit 1
fi
