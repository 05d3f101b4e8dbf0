#!/bin/bash
# Brings kernel, firmware, busybox and network boot loaders from Debian:
# image/fetch.sh CACHE_DIRECTORY auto|backports|stable|trimmed
#
# Packages are authenticated and only unpacked (sources.sh). `auto` takes the newer kernel of bookworm-backports
# and, where that cannot be had, bookworm's own; `trimmed` takes a kernel's source package. What is in the cache
# is not asked for again; remove the cache to get newer packages.
#
# 1. package lists
# 2. the packages
# 3. their files under CACHE/root, the kernel's release in CACHE/release; of a source package only CACHE/date:
#    kernel/build.sh does the rest
set -euo pipefail

cache=$(realpath -m "$1")
choice=$2
here=$(dirname "$(realpath "$0")")
# What a cache is complete with: the choice, and the list of packages below.
stamp=$cache/complete-$choice-3

[[ -e $stamp ]] && exit 0
mkdir -p "$cache/packages"
# shellcheck source=image/sources.sh
source "$here/sources.sh" "$cache"

echo "fetching Debian's package lists" >&2
# A missing backports suite is no error: apt then knows no such release.
apt-get "${apt_options[@]}" -qq update >&2 || echo "some package lists cannot be had" >&2

# The kernel's package name (its metapackage depends on it) in a release, or nothing.
kernel_package() {
	apt-cache "${apt_options[@]}" show "linux-image-amd64/$1" 2>/dev/null |
		awk '/^Depends: linux-image-/ && !seen++ { sub(/,.*/, "", $2); print $2 }'
}

release=
case $choice in
auto) order=(bookworm-backports bookworm-security bookworm) ;;
backports) order=(bookworm-backports) ;;
stable) order=(bookworm-security bookworm) ;;
# The series that the fragments in kernel/ were written for; apt takes its newest version.
trimmed) order=() kernel=linux-source-6.12 ;;
*)
	echo "kernel '$choice': choose auto, backports, stable or trimmed" >&2
	exit 2
	;;
esac
for release in "${order[@]}"; do
	kernel=$(kernel_package "$release")
	[[ -z $kernel ]] || break
done
if [[ -z $kernel ]]; then
	echo "no kernel can be had from ${order[*]}: is http://deb.debian.org reachable?" >&2
	exit 1
fi

# Firmware as new as the kernel, as far as that can be had.
firmware_release=bookworm
if [[ $release == bookworm-backports ]] ||
	[[ $choice == trimmed && -n $(kernel_package bookworm-backports) ]]; then
	firmware_release=bookworm-backports
fi
mapfile -t firmware < <(awk '!/^#/ && NF { print $1 }' "$here/firmware.list" | sort -u)
# iPXE for network cards under BIOS; the EFI stub that starts kernel and initramfs as one program.
tools=(busybox-static ipxe systemd-boot-efi)
echo "fetching $kernel${release:+ from $release}, ${firmware[*]}, ${tools[*]}" >&2
rm -rf "${cache:?}/packages" "$cache/root"
mkdir -p "$cache/packages" "$cache/root"
(cd "$cache/packages" && apt-get "${apt_options[@]}" -qq download \
	"$kernel" "${firmware[@]/%//$firmware_release}" "${tools[@]}" >&2)
for package in "$cache"/packages/*.deb; do
	case $package in
	# The source itself is large; it is unpacked where it is compiled.
	*/linux-source-*) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$cache/root" ./usr/share/doc ;;
	*) dpkg-deb -x "$package" "$cache/root" ;;
	esac
done

# The date of the kernel package is the date of everything in the image.
if [[ $choice == trimmed ]]; then
	date -r "$cache/root/usr/share/doc/$kernel/changelog.Debian.gz" +%s >"$cache/date"
	rm -rf "$cache/root/usr/share/doc"
else
	echo "${kernel#linux-image-}" >"$cache/release"
	date -r "$cache/root/boot/vmlinuz-${kernel#linux-image-}" +%s >"$cache/date"
fi
rm -f "$cache"/complete-*
touch "$stamp"
