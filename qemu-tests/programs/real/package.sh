# Builds a Debian package, looks into it and unpacks it again.
set -eu -o pipefail
export SOURCE_DATE_EPOCH=946684800

mkdir -p package/DEBIAN package/usr/share
mv tree package/usr/share/limosa-tree
cat >package/DEBIAN/control <<-END
	Package: limosa-tree
	Version: 1.0
	Architecture: all
	Maintainer: Limosa <limosa@localhost>
	Description: files of a test
END
for compression in xz gzip zstd; do
	dpkg-deb --root-owner-group -Z"$compression" --threads-max=2 --build package "$compression.deb"
	dpkg-deb --field "$compression.deb" Version Installed-Size
	dpkg-deb --contents "$compression.deb" | awk '{ print $1, $3, $6 }' | sort | cksum
	dpkg-deb --extract "$compression.deb" "from-$compression"
	diff --recursive package/usr "from-$compression/usr" && echo same
done
