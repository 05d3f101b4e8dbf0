#!/bin/bash
# Compiles the trimmed kernel, if that was not done yet: image/kernel/build.sh CACHE_DIRECTORY
#
# From Debian's source package, which fetch.sh has brought and authenticated, and the fragments beside this
# script. It takes a quarter of an hour and more, and 3 GB of disk meanwhile; ccache helps if PATH has its links
# (PATH=/usr/lib/ccache:$PATH). What was built is kept by the hash of all that it was made from.
#
# 1. unpack the source
# 2. configure: nothing but what the fragments name (allnoconfig), and check that (check.sh)
# 3. compile with the lowest priority but one; no name, date or path of the builder gets into it
# 4. kernel and modules to CACHE/built-HASH, and from there to where a kernel package would put them
set -euo pipefail

cache=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
package=$(echo "$cache"/packages/linux-source-*.deb)
hash=$(cat "$package" "$here"/*.config "$here/build.sh" | sha256sum | cut -c1-16)
built=$cache/built-$hash

compile() {
	local work=$cache/build fragments=$cache/fragments.config
	rm -rf "$work" "$built"
	mkdir -p "$work"
	# shellcheck disable=SC2064 # this work directory, whatever happens to the variable
	trap "rm -rf '$work' '$fragments'" EXIT
	echo "unpacking $(basename "$package")" >&2
	dpkg-deb --fsys-tarfile "$package" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$work" --strip-components=1

	cat "$here"/*.config >"$fragments"
	local make=(nice -n 10 make -C "$work" ARCH=x86_64 --no-print-directory --silent --jobs "$(nproc)")
	LC_ALL=C KCONFIG_ALLCONFIG=$fragments "${make[@]}" allnoconfig
	"$here/check.sh" "$work/.config"

	echo "compiling the kernel: this takes a while, and is done once" >&2
	local identity=(
		KBUILD_BUILD_TIMESTAMP="$(LC_ALL=C date -u -d "@$(<"$cache/date")")"
		KBUILD_BUILD_USER=limosa KBUILD_BUILD_HOST=limosa KBUILD_BUILD_VERSION=1
	)
	LC_ALL=C "${make[@]}" "${identity[@]}" bzImage modules
	local release
	release=$("${make[@]}" kernelrelease)
	mkdir -p "$built.part/boot"
	"${make[@]}" "${identity[@]}" INSTALL_MOD_PATH="$built.part" INSTALL_MOD_STRIP=--strip-unneeded DEPMOD=true modules_install
	rm -f "$built.part/lib/modules/$release"/{build,source}
	cp "$work/arch/x86/boot/bzImage" "$built.part/boot/vmlinuz-$release"
	cp "$work/.config" "$built.part/boot/config-$release"
	mv "$built.part" "$built"
}

# The source is 2 GB: what other fragments have made before is thrown away first.
if [[ ! -e $built ]]; then
	rm -rf "$cache"/built-*
	compile
fi
image=$(echo "$built"/boot/vmlinuz-*)
release=${image##*/vmlinuz-}
if [[ ! -e $cache/root/boot/$hash ]]; then
	# kernel.sh has prepared another.
	rm -rf "$cache"/prepared-* "$cache/root/boot" "$cache/root/lib/modules"
	mkdir -p "$cache/root/boot" "$cache/root/lib"
	cp "$built"/boot/* "$cache/root/boot/"
	cp -r "$built/lib/modules" "$cache/root/lib/"
	echo "$release" >"$cache/release"
	touch "$cache/root/boot/$hash"
fi
