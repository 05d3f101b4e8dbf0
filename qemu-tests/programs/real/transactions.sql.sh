# Prints statements for sqlite3: transactions, an index, a rollback, a trigger, a checkpoint.
cat <<END
PRAGMA journal_mode=$1;
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT, balance INTEGER);
CREATE TABLE journal (id INTEGER PRIMARY KEY, account INTEGER, amount INTEGER);
CREATE TRIGGER booked AFTER UPDATE ON account BEGIN
	INSERT INTO journal (account, amount) VALUES (new.id, new.balance - old.balance);
END;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
	INSERT INTO account SELECT i, 'name' || (i * 7919 % 1009), 1000 FROM n;
END
for ((turn = 1; turn <= 15 * SCALE; turn++)); do
	cat <<-END
		BEGIN;
		UPDATE account SET balance = balance - $turn WHERE id % 50 = $((turn % 50));
		UPDATE account SET balance = balance + $turn WHERE id % 50 = $(((turn + 7) % 50));
		COMMIT;
		BEGIN; DELETE FROM account; ROLLBACK;
		SELECT $turn, count(*), sum(balance), max(balance) FROM account;
	END
done
cat <<END
CREATE INDEX by_name ON account (name);
SELECT name, count(*), sum(balance) FROM account GROUP BY name ORDER BY 3 DESC LIMIT 5;
SELECT count(*), sum(abs(amount)) FROM journal;
PRAGMA integrity_check;
END
