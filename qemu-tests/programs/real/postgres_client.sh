# Fills a database, asks it from three connections at once, and ends its server.
set -eu -o pipefail
export PGHOST=127.0.0.1 PGPORT=7081 PGUSER=nobody PGDATABASE=postgres
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --command "$1"; }

for ((tries = 0; tries < 600; tries++)); do
	ask 'select 1' >/dev/null 2>&1 && break
	sleep 0.1
done
ask 'create table account (id int primary key, owner text, money numeric)'
for ((turn = 1; turn <= SCALE; turn++)); do
	ask "insert into account select n, md5(n::text), n * 1.25 from generate_series($turn * 10000, $turn * 10000 + 1999) n"
	for part in 0 1 2; do
		ask "update account set money = money + $turn where id % 3 = $part" &
	done
	wait
	ask 'select count(*), sum(money), max(owner) from account'
	ask 'select owner from account order by owner limit 3'
done
ask 'begin; delete from account; rollback; select count(*) from account'
kill -INT "$(head -n 1 data/postmaster.pid)"
