# Sourced by those who fetch: where Debian's packages come from: source image/sources.sh CACHE_DIRECTORY
#
# Sets `apt_options` for apt-get and apt-cache: a private list of sources and private state under CACHE.
# Packages are authenticated by Debian's archive key; the system's own sources and packages are neither read
# nor changed.
# shellcheck shell=bash disable=SC2034 # the options are for whoever sources this

mkdir -p "$1"/{lists/partial,archives/partial}
: >"$1/dpkg-status"
for suite in bookworm bookworm-updates bookworm-backports; do
	echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"http://deb.debian.org/debian $suite main non-free-firmware"
done >"$1/sources.list"
echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
	"http://deb.debian.org/debian-security bookworm-security main non-free-firmware" >>"$1/sources.list"
apt_options=(
	-o Dir::Etc::sourcelist="$1/sources.list" -o Dir::Etc::sourceparts=-
	-o Dir::State="$1" -o Dir::State::lists="$1/lists" -o Dir::State::status="$1/dpkg-status"
	-o Dir::Cache="$1" -o Dir::Cache::archives="$1/archives" -o APT::Architecture=amd64 -o APT::Sandbox::User=root
	-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
	-o Acquire::Retries=3
)
