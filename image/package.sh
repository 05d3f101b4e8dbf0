#!/bin/bash
# Packs the agent for installed machines: image/package.sh LIMOSA OUTPUT_DIRECTORY
#
#   limosa_VERSION_amd64.deb          for Debian and its relatives: the program, a systemd unit, its
#                                     configuration; `sudo apt install ./limosa_*.deb`
#   limosa-VERSION-x86_64.tar.gz      the same files for everybody else: tar -C / -xzf
#
# LIMOSA is the static binary. The same input gives the same bytes (SOURCE_DATE_EPOCH).
set -euo pipefail

limosa=$1 output=$2
here=$(dirname "$(realpath "$0")")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"
install -D -m 755 "$limosa" "$root/usr/bin/limosa"
install -D -m 644 "$here/limosa.service" "$root/usr/lib/systemd/system/limosa.service"
install -D -m 644 "$here/sysctl.conf" "$root/usr/lib/sysctl.d/50-limosa.conf"
install -D -m 644 "$here/agent.conf" "$root/etc/limosa/agent.conf"
install -d "$root/usr/share/doc/limosa"
cat "$here/../LICENSE-APACHE" "$here/../LICENSE-MIT" >"$root/usr/share/doc/limosa/copyright"

dated() { find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }
mkdir -p "$output"
dated
tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - etc usr |
	gzip -n9 >"$output/limosa-$version-x86_64.tar.gz"

mkdir -m 755 "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<-CONTROL
	Package: limosa
	Version: $version
	Architecture: amd64
	Maintainer: The Limosa developers <limosa@localhost>
	Section: admin
	Priority: optional
	Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
	Description: one computer out of your machine and a few spare PCs
	 Ordinary, unmodified programs that were started here move to other PCs while
	 they run, and come back. To you they never left.
CONTROL
echo /etc/limosa/agent.conf >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/postinst" <<-'SCRIPT'
	#!/bin/sh
	set -e
	[ "$1" = configure ] || exit 0
	if [ ! -e /etc/limosa/cluster.key ]; then
		echo "limosa: copy your cluster's key to /etc/limosa/cluster.key, or begin a cluster:"
		echo "  sudo limosa key new /etc/limosa/cluster.key"
		echo "then: sudo systemctl enable --now limosa; sudo limosa doctor"
	fi
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload
		sysctl --quiet --load=/usr/lib/sysctl.d/50-limosa.conf || true
		systemctl try-restart limosa.service
	fi
SCRIPT
cat >"$root/DEBIAN/prerm" <<-'SCRIPT'
	#!/bin/sh
	set -e
	if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
		systemctl disable --now limosa.service
	fi
SCRIPT
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
dated
dpkg-deb --root-owner-group -Zxz --build "$root" "$output/limosa_${version}_amd64.deb" >/dev/null
