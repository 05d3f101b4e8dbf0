# A database server; its client is postgres_client.sh.
binaries=$(echo /usr/lib/postgresql/*/bin)
exec setpriv --reuid nobody --regid nogroup --clear-groups "$binaries/postgres" -D data 2>server.log
