#!/bin/bash
# Prints the size of each product and fails when one is over its budget (size-budget):
# image/sizes.sh TARGET_DIRECTORY BINARIES_DIRECTORY
set -euo pipefail

here=$(dirname "$(realpath "$0")")
failed=0
while read -r name budget_bytes; do
	for directory in "$@"; do
		[[ -f $directory/$name ]] || continue
		size_bytes=$(stat -c %s "$directory/$name")
		printf '%-24s %9d bytes of %9d\n' "$name" "$size_bytes" "$budget_bytes"
		((size_bytes <= budget_bytes)) || failed=1
	done
done < <(grep -v '^#' "$here/size-budget")
if ((failed)); then
	echo "a product is over its budget (image/size-budget)" >&2
	exit 1
fi
