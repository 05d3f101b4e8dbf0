#!/bin/bash
# Brings an SSH server for nodes that are to have one (--ssh-key): image/fetch-ssh.sh CACHE_DIRECTORY
#
# Debian's dropbear and the libraries that it needs, unpacked under CACHE/ssh. They are the only
# dynamically linked program that an image can have.
set -euo pipefail

cache=$(realpath "$1")
[[ -e $cache/ssh.complete ]] && exit 0
here=$(dirname "$(realpath "$0")")
packages=(dropbear-bin libc6 libcrypt1 libgmp10 libtomcrypt1 libtommath1 zlib1g)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "fetching dropbear and its libraries" >&2
# shellcheck source=image/sources.sh
source "$here/sources.sh" "$cache"
(cd "$work" && apt-get "${apt_options[@]}" -qq download "${packages[@]}" >&2)
for package in "$work"/*.deb; do
	dpkg-deb -x "$package" "$work/all"
done
rm -rf "$cache/ssh"
library=lib/x86_64-linux-gnu
mkdir -p "$cache/ssh"/{bin,lib64,$library}
cp "$work/all/usr/sbin/dropbear" "$cache/ssh/bin/dropbear"
# The names that programs ask for are links to the files with the full version.
find "$work/all" \( -name 'libc.so.6' -o -name 'libcrypt.so.1' -o -name 'libgmp.so.10' \
	-o -name 'libtomcrypt.so.1' -o -name 'libtommath.so.1' -o -name 'libz.so.1' \) |
	while read -r file; do cp --dereference "$file" "$cache/ssh/$library/"; done
find "$work/all" -name 'ld-linux-x86-64.so.2' -path '*x86_64-linux-gnu*' \
	-exec cp --dereference {} "$cache/ssh/lib64/" \;
find "$cache/ssh" -type f -exec chmod 755 {} +
touch "$cache/ssh.complete"
