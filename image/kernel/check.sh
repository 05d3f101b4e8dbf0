#!/bin/bash
# Checks the configuration of the trimmed kernel: image/kernel/check.sh [CONFIG]
#
# 1. The fragments (*.config) name each option once, in the form of the kernel's own files.
# 2. needs.config has each option that the agent names when it misses a feature (agent/src/sys/probe.rs).
# 3. With CONFIG, a kernel's complete configuration: each line of the fragments holds in it. An option with
#    unmet dependencies is dropped by the kernel's configuration without a word; here it is an error.
# 4. No option called MITIGATION_ is off in it: those of newer sources, which no fragment names, included.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
config=${1-}
failed=0
complain() {
	echo "image/kernel: $1" >&2
	failed=1
}
# Lines that are neither empty nor comments; "# CONFIG_X is not set" is no comment.
options() { grep -hvE '^(#( .*)?)?$' "$@" || true; grep -hE '^# CONFIG_[A-Za-z0-9_]+ is not set$' "$@" || true; }
name_of() { grep -oE 'CONFIG_[A-Za-z0-9_]+' | sort; }

while read -r line; do
	complain "not an option: $line"
done < <(options "$here"/*.config | grep -vE '^CONFIG_[A-Za-z0-9_]+=([ym]|[0-9]+|".*")$|^# CONFIG_')
while read -r name; do
	complain "$name is named twice"
done < <(options "$here"/*.config | grep -oE '^(# )?CONFIG_[A-Za-z0-9_]+' | name_of | uniq -d)

# Rust breaks long texts by a backslash at the line's end.
advice=$(sed -e ':join' -e '/\\$/ { N; s/\\\n *//; b join' -e '}' "$here/../../agent/src/sys/probe.rs")
while read -r word name; do
	case $word in
	with) needed="$name=y" ;;
	without) needed="# $name is not set" ;;
	esac
	grep -qxF "$needed" "$here/needs.config" || complain "the agent needs a kernel $word $name: needs.config lacks it"
done < <(grep -oE '\<(with|without) CONFIG_[A-Z0-9_]+' <<<"$advice" | sort -u)

if [[ -n $config ]]; then
	while read -r line; do
		name=$(name_of <<<"$line")
		case $line in
		# An option that this kernel does not have is off, too.
		'#'*) ! grep -qE "^$name=" "$config" || complain "$name is on, and must not be" ;;
		*) grep -qxF "$line" "$config" || complain "$line does not hold: the source has no such option, or it depends on another" ;;
		esac
	done < <(options "$here"/*.config)
	while read -r name; do
		complain "$name is off: a mitigation that mitigations.config does not name"
	done < <(grep -oE '^# CONFIG_MITIGATION_[A-Z0-9_]+ is not set' "$config" | name_of)
fi
exit $failed
