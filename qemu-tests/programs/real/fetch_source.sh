#!/bin/bash
# Unpacks a Debian source package into ./source: fetch_source.sh PACKAGE CACHE
# Through package lists of its own: the system's sources are neither read nor changed. What is in the
# cache is not asked for again.
set -euo pipefail

package=$1
mkdir -p "$2"
cache=$(realpath "$2")
if ! compgen -G "$cache/${package}_*.dsc" >/dev/null; then
	mkdir -p "$cache"/{lists/partial,archives/partial}
	: >"$cache/dpkg-status"
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"http://deb.debian.org/debian bookworm main" >"$cache/sources.list"
	apt_options=(
		-o Dir::Etc::sourcelist="$cache/sources.list" -o Dir::Etc::sourceparts=-
		-o Dir::State="$cache" -o Dir::State::lists="$cache/lists" -o Dir::State::status="$cache/dpkg-status"
		-o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" -o APT::Sandbox::User=root
		-o Acquire::Languages=none -o Acquire::Retries=3
	)
	apt-get "${apt_options[@]}" -qq update >&2
	(cd "$cache" && apt-get "${apt_options[@]}" -qq source --download-only "$package" >&2)
fi
dpkg-source --no-check --extract "$cache/${package}"_*.dsc source >&2
