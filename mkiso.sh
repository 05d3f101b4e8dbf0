#!/bin/bash
# Builds target/limosa.iso and the netboot files; see usage below and image/README.md.
set -euo pipefail
here=$PWD
cd "$(dirname "$(realpath "$0")")"

usage() {
	cat <<-'TEXT'
		usage: ./mkiso.sh [demo|package] [OPTION]...

		Builds the agent and /init and packs them with a Debian kernel:
		  target/limosa.iso                         for CD and USB, BIOS and UEFI
		  target/netboot/vmlinuz, initramfs.img     for booting from the network; nothing secret in them
		  target/netboot/cluster.img                what makes a PC a node of this cluster: the key
		  target/netboot/limosa.efi, undionly.kpxe  what UEFI and BIOS network cards load first
		  target/netboot/vmlinux                    for QEMU (-kernel, starts faster)

		`./mkiso.sh demo` builds the netboot files and shows a cluster of three virtual nodes at work.

		`./mkiso.sh package` makes target/limosa_*.deb and target/limosa-*.tar.gz for installed machines.

		  --key FILE          bake this cluster key in (default: ./cluster.key, made on first use)
		  --no-key            bake no key in: nodes ask for it on their consoles, or take limosa.key=
		  --open              no key at all: whoever reaches such a node may use it
		  --name-prefix TEXT  nodes are called TEXT-3fa2 (default: limosa)
		  --include DIR       add the files of DIR to every node's root, as seen from /
		  --ssh-key FILE      an SSH server on every node; who has this key's other half is root there
		  --kernel K          auto (default), backports or stable: which of Debian 12's kernels; trimmed: a small
		                      one, compiled from Debian's source (the first time takes long). It makes
		                      target/limosa-trimmed.iso and target/netboot-trimmed
		  --netboot           make only the netboot files
		  --into DIR          where the netboot files go (default: target/netboot)
		  --help
	TEXT
}

fail() {
	echo "mkiso.sh: $1" >&2
	exit "${2-2}"
}
# A file as named by the caller, who may have been in another directory.
named() { (cd "$here" && realpath "$1"); }

what=iso key=cluster.key open='' kernel=auto netboot='' prefix='' include=- ssh_key=-
while (($#)); do
	case $1 in
	--key | --kernel | --into | --name-prefix | --include | --ssh-key)
		[[ -n ${2-} ]] || fail "$1 needs a value"
		;;&
	demo | package) what=$1 ;;
	--netboot) what=netboot ;;
	--key) key=$(named "$2") && shift ;;
	--no-key) key=- ;;
	--open) key=- open=limosa.open ;;
	--name-prefix) prefix=$2 && shift ;;
	--include) include=$(named "$2") && shift ;;
	--ssh-key) ssh_key=$(named "$2") && shift ;;
	--kernel) kernel=$2 && shift ;;
	--into) netboot=$2 && shift ;;
	--help | -h) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
[[ $key == - || $key == cluster.key || -r $key ]] || fail "the cluster key $key cannot be read" 1
[[ $include == - || -d $include ]] || fail "there is no directory $include to include" 1
[[ $ssh_key == - || -r $ssh_key ]] || fail "the SSH key $ssh_key cannot be read" 1
# What follows the prefix is five characters, and a host name has at most 64.
[[ $prefix =~ ^([A-Za-z0-9][A-Za-z0-9._-]{0,57})?$ ]] || fail "--name-prefix '$prefix' is no beginning of a host name"

binaries=target/x86_64-unknown-linux-gnu/release
suffix=''
[[ $kernel != trimmed ]] || suffix=-trimmed
netboot=${netboot:-target/netboot$suffix}
[[ $what != demo || $netboot == target/netboot ]] || fail "the demo boots the stock image, from target/netboot"
# One cache for each choice of kernel, so that building with one does not throw away what another fetched.
cache=target/image-cache
[[ $kernel == auto ]] || cache+=-$kernel

if [[ $what == package ]]; then
	cargo build --release --package limosa
	# The date of the last change, so that the same source gives the same bytes.
	SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
	export SOURCE_DATE_EPOCH
	image/package.sh $binaries/limosa target
	exec ls -l target/limosa_*.deb target/limosa-*.tar.gz
fi

image/tools.sh "$what" "$kernel"
packages=(--package limosa --package limosa-initramfs)
[[ $what != demo ]] || packages+=(--package limosa-qemu-tests)
cargo build --release "${packages[@]}"
image/fetch.sh $cache "$kernel"
[[ $ssh_key == - ]] || image/fetch-ssh.sh $cache
[[ $kernel != trimmed ]] || image/kernel/build.sh $cache
image/kernel.sh $cache

if [[ $key == cluster.key && ! -e $key ]]; then
	(umask 077 && "$binaries/limosa" key new >"$key.part" && mv "$key.part" "$key")
	echo "made a cluster key: $PWD/$key. Keep it; whoever has it or the image is in the cluster."
fi
if [[ $key != - ]] && ! "$binaries/limosa" key show "$key" >/dev/null; then
	exit 1
fi

# The date of everything in the image; by default that of the kernel package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(<$cache/date)}
export SOURCE_DATE_EPOCH
mkdir -p $netboot
# Image and key are as secret as each other.
umask 077
parameters=$open${prefix:+ limosa.name-prefix=$prefix}
cp "$cache/root/boot/vmlinuz-$(<$cache/release)" $netboot/vmlinuz
cp "$cache/root/usr/lib/ipxe/undionly.kpxe" $netboot/undionly.kpxe
cp $cache/vmlinux $netboot/vmlinux
image/initramfs.sh $cache $binaries/init $binaries/limosa $netboot/initramfs.img
image/cluster.sh $cache "$key" "${parameters# }" "$include" "$ssh_key" $netboot/cluster.img
image/efi.sh $cache $netboot
if [[ $what == iso ]]; then
	image/iso.sh $netboot target/limosa$suffix.iso
fi
image/sizes.sh target $binaries
if [[ $what == demo ]]; then
	exec image/demo.sh
fi
