#!/bin/bash
# Builds target/limosa.iso and the netboot files; see usage below and image/README.md.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"

usage() {
	cat <<-'TEXT'
		usage: ./mkiso.sh [demo] [OPTION]...

		Builds the agent and /init and packs them with a Debian kernel:
		  target/limosa.iso                         for CD and USB, BIOS and UEFI
		  target/netboot/vmlinuz, initramfs.img     for booting from the network
		  target/netboot/vmlinux                    for QEMU (-kernel, starts faster)

		`./mkiso.sh demo` builds the netboot files and shows a cluster of three virtual nodes at work.

		  --key FILE     bake this cluster key in (default: ./cluster.key, made on first use)
		  --no-key       bake no key in: nodes wait for limosa.key= on the kernel command line
		  --open         no key at all: whoever reaches such a node may use it
		  --kernel K     auto (default), backports or stable: which of Debian 12's kernels
		  --netboot      make only the netboot files
		  --into DIR     where the netboot files go (default: target/netboot)
		  --help
	TEXT
}

what=iso key=cluster.key open='' kernel=auto netboot=target/netboot
while (($#)); do
	case $1 in
	demo) what=demo ;;
	--netboot) what=netboot ;;
	--key) key=${2:?--key needs a file} && shift ;;
	--no-key) key=- ;;
	--open) key=- open=limosa.open ;;
	--kernel) kernel=${2:?--kernel needs a choice} && shift ;;
	--into) netboot=${2:?--into needs a directory} && shift ;;
	--help | -h) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
if [[ $key != - && $key != cluster.key && ! -r $key ]]; then
	echo "the cluster key $key cannot be read" >&2
	exit 1
fi

binaries=target/x86_64-unknown-linux-gnu/release
# One cache for each choice of kernel, so that building with one does not throw away what another fetched.
cache=target/image-cache
[[ $kernel == auto ]] || cache+=-$kernel

image/tools.sh "$what"
packages=(--package limosa --package limosa-initramfs)
[[ $what != demo ]] || packages+=(--package limosa-qemu-tests)
cargo build --release "${packages[@]}"
image/fetch.sh $cache "$kernel"
image/kernel.sh $cache

if [[ $key == cluster.key && ! -e $key ]]; then
	(umask 077 && "$binaries/limosa" key new >"$key.part" && mv "$key.part" "$key")
	echo "made a cluster key: $PWD/$key. Keep it; whoever has it or the image is in the cluster."
fi

SOURCE_DATE_EPOCH=$(<$cache/date)
export SOURCE_DATE_EPOCH
mkdir -p $netboot
# Image and key are as secret as each other.
umask 077
cp "$cache/root/boot/vmlinuz-$(<$cache/release)" $netboot/vmlinuz
cp $cache/vmlinux $netboot/vmlinux
image/initramfs.sh $cache $binaries/init $binaries/limosa "$key" "$open" $netboot/initramfs.img
if [[ $what == iso ]]; then
	image/iso.sh $netboot/vmlinuz $netboot/initramfs.img target/limosa.iso
fi
image/sizes.sh target $binaries
if [[ $what == demo ]]; then
	exec image/demo.sh
fi
