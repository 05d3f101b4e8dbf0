# Fills a redis server, asks it, lets it save itself by a child, and ends it.
set -eu -o pipefail
ask() { redis-cli -p 7079 "$@"; }

for ((tries = 0; tries < 600; tries++)); do
	ask ping 2>/dev/null | grep -q PONG && break
	sleep 0.1
done
for ((turn = 1; turn <= SCALE; turn++)); do
	seq 1500 | awk -v turn="$turn" '{ print "SET key:" turn ":" $1, $1 * turn; print "LPUSH list:" turn, $1; print "ZADD set", $1 % 50, "member" $1 }' |
		ask | sort | uniq -c | sort -n | tail -n 2
	seq 400 | awk -v turn="$turn" '{ print "GET key:" turn ":" $1 }' | ask | awk '{ sum += $1 } END { print sum }'
	ask --raw lrange "list:$turn" 0 4 | paste -s
	ask --raw eval 'local sum = 0; for _, key in ipairs(redis.call("keys", "key:*")) do sum = sum + redis.call("get", key) end; return sum' 0
	ask incrbyfloat counter 0.25
	ask bgsave >/dev/null
	while ask info persistence | grep -q 'rdb_bgsave_in_progress:1'; do sleep 0.05; done
	ask info persistence | grep -a last_bgsave_status | tr -d '\r'
done
ask dbsize
ask debug reload || true
ask shutdown nosave || true
