# Fetches files from a web server, whole, in parts and compressed, and ends it.
set -eu -o pipefail
base=http://127.0.0.1:7080

for ((tries = 0; tries < 600; tries++)); do
	curl --silent --output /dev/null "$base/" && break
	sleep 0.1
done
for ((turn = 1; turn <= SCALE; turn++)); do
	for number in 1 8 15 22; do
		curl --silent "$base/1/$number.txt" | cmp - "tree/1/$number.txt" && echo same
	done
	curl --silent --range 100-199 "$base/1/1.txt" | cksum
	curl --silent --compressed "$base/2/2.txt" | cksum
	curl --silent --output /dev/null --write-out '%{http_code}\n' "$base/no-such-file"
	curl --silent "$base/3/[3-31:7].txt" | cksum
	curl --silent --head "$base/1/1.txt" | grep -i content-length | tr -d '\r'
done
kill -QUIT "$(cat nginx.pid)"
