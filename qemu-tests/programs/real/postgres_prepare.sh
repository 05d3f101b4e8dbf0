# Makes a database cluster in ./data; a database server refuses to be root, so all is the user nobody's.
set -eu
binaries=$(echo /usr/lib/postgresql/*/bin)
chmod 755 .
mkdir data
chown -R nobody: .
setpriv --reuid nobody --regid nogroup --clear-groups "$binaries/initdb" --pgdata data --auth trust --no-sync --no-locale >/dev/null
cat >>data/postgresql.conf <<-END
	listen_addresses = '127.0.0.1'
	port = 7081
	unix_socket_directories = ''
	fsync = off
	autovacuum = off
END
