# Configures and builds a project; prints what does not depend on the order in which jobs end.
set -eu -o pipefail

cmake -G Ninja -S . -B build -D CMAKE_BUILD_TYPE=Release | grep -v '^-- Build files'
ninja -C build -j 3 | sed 's/^\[[0-9]*\/[0-9]*\] //' | sort
./build/program
touch part2.cc
ninja -C build | tail -n 1
