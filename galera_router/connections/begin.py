"""What begins a transaction, and what our own waits are sent with."""

from __future__ import annotations

BEGIN = b"START TRANSACTION"
#: The first transaction of every connection to the primary. Without it MariaDB (seen: 10.11.19
#: with Galera 26.4.23) replicates what a ROLLBACK TO SAVEPOINT has undone, if the connection had
#: only read before: the row is then missing on the node that undid it and is on all others.
PRIME = b"START TRANSACTION WITH CONSISTENT SNAPSHOT"
BEGIN_READ_ONLY = b"START TRANSACTION READ ONLY"
#: Inside a transaction wsrep_sync_wait does nothing: it has to be on the BEGIN. The time that the
#: application allows its statements is not for our waits. A session that takes dirty reads, as the
#: server's own settings may have it, would not wait.
SYNCED = b"SET STATEMENT wsrep_dirty_reads=0, wsrep_sync_wait=1, max_statement_time=0 FOR "
#: Ahead of a statement of ours that may have to wait for a lock.
UNHURRIED = b"SET STATEMENT max_statement_time=0 FOR "
