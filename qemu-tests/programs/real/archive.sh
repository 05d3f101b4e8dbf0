# An archive through compressors and back, compared with what went in.
set -eu

export GZIP=
for ((turn = 1; turn <= SCALE; turn++)); do
	tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner tree |
		gzip --no-name -6 | tee archive.tar.gz | sha256sum
	mkdir again
	gzip --decompress --stdout archive.tar.gz | tar --extract --directory again
	diff -r tree again/tree && echo same
	find again -type f | wc -l
	rm -r again
	find tree -name '*3.txt' -print0 | sort -z | xargs -0 cat | cksum
done
