"""The classifier: what it says of each kind of statement."""

from __future__ import annotations

import copy
import pickle

import pytest

from galera_router.transactions import statements
from galera_router.transactions.statements import CACHED_LENGTH, Savepoint, classify

DJANGO_SELECT = (
    "SELECT `bank_account`.`id`, `bank_account`.`for_update_id` FROM `bank_account` INNER JOIN"
    " `auth_user` ON (`bank_account`.`owner_id` = `auth_user`.`id`) WHERE `auth_user`.`username`"
    " LIKE BINARY %s ORDER BY `bank_account`.`name` ASC LIMIT 21"
)

READABLE = [
    DJANGO_SELECT,
    "SELECT 1",
    "SELECT 1;",
    "SELECT 1 ; -- done",
    "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
    "WITH t AS (SELECT 1 AS a) SELECT a FROM t",
    "VALUES (1), (2)",
    "SELECT COUNT(*) AS `__count` FROM `t`",
    "SELECT * FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-01'",
    "SELECT SUBSTRING(name FROM 1 FOR 3) FROM t USE INDEX FOR JOIN (i)",
    "SELECT next_value, for_update_id, share FROM t",
    "SELECT `last_insert_id`, `get_lock`, `lock`, `update` FROM `t`",
    "SELECT 'FOR UPDATE', \"@x; GET_LOCK('a', 1)\", 'it''s', 'a@b.c' FROM t",
    "SELECT 1 /* FOR UPDATE; @x */ # INTO OUTFILE\n -- GET_LOCK('a', 1)",
    "SELECT 5--3",
    "SELECT 'a backslash \\\\ alone \\n'",
    "EXPLAIN SELECT 1",
    "EXPLAIN FORMAT=JSON SELECT 1",
    "EXPLAIN EXTENDED (SELECT 1)",
    "DESCRIBE `t`",
    "DESC t name",
]

DOUBTFUL = [
    "SELECT 1 FOR UPDATE",
    "select 1 for\n\tupdate nowait",
    "SELECT 1 FOR/**/UPDATE SKIP LOCKED",
    "SELECT 1 FOR -- x\n UPDATE WAIT 5",
    "SELECT * FROM `t` WHERE `id` = %s LIMIT 21 FOR UPDATE OF `t`",
    "SELECT 1 LOCK IN SHARE MODE",
    "SELECT 1 lock/* */in # x\nshare mode NOWAIT",
    "SELECT 1 FOR SHARE",
    "SELECT 1 FOR /* x */ SHARE SKIP LOCKED",
    "SELECT @x",
    "SELECT @`x`, @'y'",
    "SELECT @@version",
    "SELECT @x := 1",
    "SELECT GET_LOCK('a', 1)",
    "SELECT get_lock /**/ ('a', 1)",
    "SELECT `get_lock`('a', 1)",
    "SELECT `get_lock` /* */ ('a', 1)",
    "SELECT {fn get_lock('a', 1)}",
    "SELECT RELEASE_LOCK('a'), RELEASE_ALL_LOCKS(), IS_FREE_LOCK('a'), IS_USED_LOCK('a')",
    "SELECT LAST_INSERT_ID()",
    "SELECT FOUND_ROWS()",
    "SELECT ROW_COUNT()",
    "SELECT CONNECTION_ID()",
    "SELECT NEXTVAL(s)",
    "SELECT LASTVAL(s)",
    "SELECT SETVAL(s, 1)",
    "SELECT NEXT VALUE FOR s",
    "SELECT PREVIOUS/**/VALUE\nFOR s",
    "SELECT s.nextval",
    "SELECT s.currval",
    "SELECT SQL_CALC_FOUND_ROWS * FROM t",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 INTO DUMPFILE '/tmp/x'",
    "SELECT 1 INTO @x",
    "SELECT * FROM t PROCEDURE ANALYSE()",
    "SELECT LOAD_FILE('/etc/hostname')",
    "SELECT 1; SELECT 2",
    "SELECT 1; 'x'",
    "SELECT 1;;",
    "SELECT /*! SQL_NO_CACHE */ 1",
    "SELECT 1 /*M!100100 FOR UPDATE */",
    "/*!50000 SELECT */ 1",
    "SELECT 'open",
    "SELECT 'open''",
    'SELECT "open',
    "SELECT `open",
    "SELECT 1 /* open",
    "SELECT 1 /*/",
    "SELECT 'ends early under NO_BACKSLASH_ESCAPES\\', GET_LOCK('a', 1) -- '",
    "WITH t AS (SELECT 1) UPDATE u SET a = 1",
    "WITH t AS (SELECT 1) DELETE FROM u",
    "EXPLAIN UPDATE t SET a = 1",
    "EXPLAIN INSERT INTO t VALUES (1)",
    "EXPLAIN FOR CONNECTION 5",
    "ANALYZE SELECT 1",
    "SHOW TABLES",
    "SET @x = 1",
    "CALL p()",
    "DO SLEEP(1)",
    "HANDLER t OPEN",
    "EXECUTE s",
    "PREPARE s FROM 'SELECT 1'",
    "BEGIN",
    "START TRANSACTION",
    "TABLE t",
    "SELECTED 1",
    "INSERT INTO t VALUES (1)",
    "",
    "   ",
    ";",
    "-- nothing",
    "1",
]


@pytest.mark.parametrize("sql", READABLE)
def test_readable(sql: str) -> None:
    assert classify(sql).readable


@pytest.mark.parametrize("sql", DOUBTFUL)
def test_in_doubt_not_readable(sql: str) -> None:
    assert not classify(sql).readable
    assert not classify(sql).repeatable


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT NOW()",
        "SELECT now (6)",
        "SELECT CURRENT_TIMESTAMP",
        "SELECT CURRENT_TIMESTAMP(6)",
        "SELECT * FROM t WHERE d < CURRENT_DATE",
        "SELECT SYSDATE(), LOCALTIME, LOCALTIMESTAMP(), CURDATE()",
        "SELECT CURTIME/* */()",
        "SELECT CURRENT_TIME",
        "SELECT UTC_DATE",
        "SELECT UTC_TIME()",
        "SELECT UTC_TIMESTAMP(6)",
        "SELECT UNIX_TIMESTAMP( )",
        "SELECT * FROM t ORDER BY RAND()",
        "SELECT UUID(), UUID_SHORT()",
        "SELECT SYS_GUID()",
        "SELECT VERSION()",
        "SELECT SLEEP(1)",
        "SELECT BENCHMARK(1, 1)",
        "SELECT WSREP_SYNC_WAIT_UPTO_GTID('0-1-1', 5)",
        "SELECT table_name FROM information_schema.tables",
        "SELECT * FROM `INFORMATION_SCHEMA` . `TABLES`",
        "SELECT * FROM performance_schema.threads",
        "SELECT * FROM mysql.user",
        "SELECT * FROM `sys`.`x`",
        "EXPLAIN SELECT 1",
        "DESCRIBE t",
    ],
)
def test_readable_but_not_repeatable(sql: str) -> None:
    assert classify(sql).readable
    assert not classify(sql).repeatable


@pytest.mark.parametrize(
    "sql",
    [
        DJANGO_SELECT,
        "SELECT CURRENT_USER()",
        "SELECT version, rand, uuid, sleep, now FROM t",
        "SELECT UNIX_TIMESTAMP(created) FROM t",
        "SELECT UNIX_TIMESTAMP('2020-01-01'), UNIX_TIMESTAMP(`t`.`c`) FROM `t`",
        "SELECT 'NOW() FROM mysql.user' FROM t",
        "SELECT `mysql`, sys, `current_date` FROM t",
        "SELECT * FROM t_mysql.x JOIN `a`.`sys`",
    ],
)
def test_repeatable(sql: str) -> None:
    assert classify(sql).repeatable


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        (DJANGO_SELECT, True),
        ("SELECT COUNT(*), COALESCE(SUM(a), 0) FROM t WHERE a IN (1) AND (b = 'f(' OR (c))", True),
        ("SELECT a FROM t WHERE EXISTS(SELECT 1 FROM u) UNION (SELECT lower(b) FROM u)", True),
        ("SELECT sell(1)", False),
        ("SELECT a FROM t WHERE a = sell /* */ (b)", False),
        ("SELECT shop.lower(a) FROM t", False),
        ("SELECT `shop` . lower(a) FROM t", False),
        ("SELECT `sell`(1)", False),
        ("SELECT NOW()", False),
        ("SELECT a FROM t FOR UPDATE", False),
        ("SELECT a FROM t LOCK IN SHARE MODE", False),
        ("DELETE FROM t RETURNING a", False),
        ("INSERT INTO t VALUES (1) RETURNING a", False),
    ],
)
def test_plain(sql: str, plain: bool) -> None:
    assert classify(sql).plain is plain


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        (DJANGO_SELECT, True),
        ("SELECT a FROM (SELECT a FROM t order/**/by a) x", True),
        ("SELECT GROUP_CONCAT(a ORDER BY a) FROM t", True),
        ("UPDATE t SET a = 1 ORDER BY a LIMIT 1", True),
        ("SELECT a FROM t", False),
        ("SELECT 'ORDER BY' FROM `order by` -- ORDER BY", False),
        ("SELECT reorder by_ FROM t", False),
    ],
)
def test_ordered(sql: str, ordered: bool) -> None:
    assert classify(sql).ordered is ordered


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "replace t values (1)",
        "/* x */ UPDATE t SET a = 1",
        "DELETE FROM t",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "TRUNCATE t",
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ADD b int",
        "DROP TABLE t",
        "RENAME TABLE t TO u",
        "GRANT ALL ON *.* TO a@b",
        "REVOKE ALL ON *.* FROM a@b",
        "OPTIMIZE TABLE t",
        "REPAIR TABLE t",
        "ANALYZE TABLE t",
        "ANALYZE LOCAL TABLE t",
    ],
)
def test_writes(sql: str) -> None:
    assert classify(sql).write
    assert classify(sql).insert is (classify(sql).verb in {"INSERT", "REPLACE"})


@pytest.mark.parametrize(
    "sql",
    [*READABLE, "ANALYZE SELECT 1", "ANALYZE FORMAT=JSON SELECT 1", "SET x = 1", "SHOW TABLES"],
)
def test_does_not_plainly_write(sql: str) -> None:
    assert not classify(sql).write
    assert not classify(sql).insert


@pytest.mark.parametrize(
    ("sql", "savepoint"),
    [
        ("SAVEPOINT `s1_x1`", Savepoint("SAVEPOINT", "s1_x1")),
        ("savepoint s$1;", Savepoint("SAVEPOINT", "s$1")),
        ("SAVEPOINT`a``b`", Savepoint("SAVEPOINT", "a`b")),
        ("RELEASE SAVEPOINT `S1`", Savepoint("RELEASE", "s1")),
        ("/* x */ RELEASE/**/SAVEPOINT s1 -- y", Savepoint("RELEASE", "s1")),
        ("ROLLBACK TO SAVEPOINT `s1`", Savepoint("ROLLBACK TO", "s1")),
        ("ROLLBACK TO s1", Savepoint("ROLLBACK TO", "s1")),
        ("rollback work\nto savepoint s1", Savepoint("ROLLBACK TO", "s1")),
        ("SAVEPOINT größe", Savepoint("SAVEPOINT", "größe")),
        ("ROLLBACK", None),
        ("ROLLBACK WORK", None),
        ("ROLLBACK AND CHAIN", None),
        ("SAVEPOINT", None),
        ("SAVEPOINT a b", None),
        ("SAVEPOINT a; COMMIT", None),
        ("SAVEPOINT a /*! ; COMMIT */", None),
    ],
)
def test_savepoints(sql: str, savepoint: Savepoint | None) -> None:
    assert classify(sql).savepoint == savepoint
    assert classify(sql).may_end_transaction is (savepoint is None)
    assert not classify(sql).readable


@pytest.mark.parametrize(
    "sql",
    [
        *READABLE,
        "SELECT 1 FOR UPDATE",
        "INSERT INTO t VALUES ('; COMMIT')",
        "REPLACE t VALUES (1)",
        "UPDATE t SET a = 1;",
        "DELETE FROM t -- ; COMMIT",
        "SHOW TABLES",
        "DO 1",
        "SET foreign_key_checks = 0",
        "SET @x = 1",
        "SET NAMES utf8mb4",
        "SET TRANSACTION READ ONLY",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE OR REPLACE TEMPORARY TABLE t (a int)",
        "DROP TEMPORARY TABLE IF EXISTS t",
        "DROP TEMPORARY TABLES t, u",
    ],
)
def test_leaves_the_transaction_open(sql: str) -> None:
    assert not classify(sql).may_end_transaction


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "START TRANSACTION",
        "BEGIN NOT ATOMIC COMMIT",
        "CREATE TABLE t (a int)",
        "CREATE TABLE temporary (a int)",
        "DROP TABLE t",
        "ALTER TABLE t ADD b int",
        "TRUNCATE t",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "LOCK TABLES t READ",
        "UNLOCK TABLES",
        "CALL p()",
        "XA END 'x'",
        "EXECUTE s",
        "SET autocommit = 1",
        "SET @@session.autocommit = 1",
        "SET `autocommit` = 1",
        "SET foreign_key_checks = 0, autocommit = 1",
        "SET PASSWORD = PASSWORD('x')",
        "SET DEFAULT ROLE r",
        "SET STATEMENT max_statement_time = 1 FOR COMMIT",
        "INSERT INTO t VALUES (1); COMMIT",
        "INSERT INTO t /*! VALUES (1); COMMIT */",
        "INSERT INTO t VALUES ('open",
        "ANALYZE TABLE t",
        "frobnicate",
        "",
    ],
)
def test_may_end_the_transaction(sql: str) -> None:
    assert classify(sql).may_end_transaction


@pytest.mark.parametrize(
    "sql",
    [
        "SET @x = 1",
        "SET NAMES utf8mb4",
        "SET sql_mode = ''",
        "SET foreign_key_checks = 0, sql_mode = ''",
        "SET foreign_key_checks = @x",
        "SET SESSION TRANSACTION READ ONLY",
        "SELECT @x",
        "SELECT 1 INTO @x",
        "INSERT INTO t VALUES (@`x`)",
        "UPDATE t SET a = LAST_INSERT_ID (a + 1)",
        "SELECT GET_LOCK('a', 1)",
        "SELECT `get_lock`('a', 1)",
        "DO `release_lock`('a')",
        "SELECT SQL_CALC_FOUND_ROWS * FROM t",
        "SELECT FOUND_ROWS()",
        "SELECT PREVIOUS VALUE FOR s",
        "SELECT s.currval",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE OR REPLACE TEMPORARY TABLE t (a int)",
        "DROP TEMPORARY TABLE t",
        "LOCK TABLES t READ",
        "FLUSH TABLES WITH READ LOCK",
        "PREPARE s FROM 'SELECT 1'",
        "EXECUTE s",
        "HANDLER t OPEN",
        "USE other",
        "CALL p()",
        "XA START 'x'",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "INSERT INTO t VALUES (1); SET @x = 1",
        "SELECT 1; SELECT GET_LOCK('a', 1)",
        "SELECT /*! 1 */",
        "SELECT 'open",
        "frobnicate",
    ],
)
def test_state(sql: str) -> None:
    assert classify(sql).state


@pytest.mark.parametrize(
    "sql",
    [
        *READABLE,
        "SELECT @@version, @@session.sql_mode",
        "INSERT INTO stats (row_count, connection_id) VALUES (1, '@x')",
        "INSERT INTO `found_rows` (`get_lock`) VALUES (%s)",
        "UPDATE t SET previous = 1",
        "SET foreign_key_checks = 0",
        "SET foreign_key_checks=1;",
        "SET SESSION foreign_key_checks = OFF",
        "SET @@session.foreign_key_checks = ON",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
        "CREATE TABLE t (a int)",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "START TRANSACTION READ ONLY",
        "SELECT 1; SELECT 2",
        "SET foreign_key_checks = 0; SET foreign_key_checks = 1",
    ],
)
def test_no_state(sql: str) -> None:
    assert not classify(sql).state


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("select 1", "SELECT"),
        (" \t\n\r\f\v((SELECT 1))", "SELECT"),
        ("-- x\n# y\n/* z */ ( /* SET */ values(1)", "VALUES"),
        ("/*!40101 SET NAMES utf8 */", "SET"),
        ("/*M! ( select 1) */", "SELECT"),
        ("\u017felect 1", "\u017fELECT"),  # str.upper() would make an S of it
        ("`x` SELECT 1", ""),
        ("+ SELECT 1", ""),
        ("", ""),
    ],
)
def test_verb(sql: str, verb: str) -> None:
    assert classify(sql).verb == verb


def test_bytes_are_read_as_text_is() -> None:
    sql = "SELECT 'ä', x FROM t ORDER BY ö"
    expected = classify(sql)
    assert classify(sql.encode()) == expected
    assert classify(bytearray(sql.encode())) == expected
    assert classify(b"SELECT '\xff' FROM t").readable


FOR_ONE = "SET STATEMENT max_statement_time = 5, sql_mode = 'for @x' FOR "


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1", "UPDATE t SET a = ' FOR '", "ALTER TABLE t ADD COLUMN b INT",
        "INSERT INTO t SET a = 1", "DELETE FROM t WHERE a = 'GET_LOCK(1)'",
        "SELECT a FROM t FOR UPDATE", "(SELECT 1)",
    ],
)  # fmt: skip
def test_what_is_set_for_one_statement_ends_with_it(sql: str) -> None:
    assert not classify(FOR_ONE + sql).state
    assert not classify(f"SET /* */ STATEMENT\nmax_statement_time=5\tfor\n{sql};").state


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT GET_LOCK('a', 1)", "SELECT @x := 1", "CREATE TEMPORARY TABLE t (a INT)", "CALL p()",
        "SET @x = 1", "UPDATE t SET a = LAST_INSERT_ID(5)", "PREPARE s FROM 'SELECT 1'", "",
    ],
)  # fmt: skip
def test_but_not_what_that_statement_leaves(sql: str) -> None:
    assert classify(FOR_ONE + sql).state
    assert classify(f"SELECT 1; {FOR_ONE}{sql}").state
    assert classify("SET STATEMENT max_statement_time = @x FOR SELECT 1").state


def test_long_statements_are_not_kept() -> None:
    statements._cached.cache_clear()
    classify("SELECT 1" + " " * (CACHED_LENGTH - 9))
    assert statements._cached.cache_info().currsize == 1
    assert classify("SELECT 1" + " " * CACHED_LENGTH).readable
    assert statements._cached.cache_info().currsize == 1


def test_a_statement_cannot_be_changed_but_copied() -> None:
    statement = classify("SAVEPOINT x")
    with pytest.raises(AttributeError):
        statement.readable = True  # type: ignore[misc]
    assert copy.deepcopy(statement) == statement
    assert pickle.loads(pickle.dumps(statement)) == statement


@pytest.mark.parametrize(
    "piece", ["'\\'", "\"\\'", "`", "/*", "/*!", "#\n", "-- ", "'", "''", "(", "`a` ", "; ", "a "]
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    """A quadratic scanner would take half an hour for this, beyond any time limit of the suite."""
    assert classify("SELECT " + piece * 500_001).verb == "SELECT"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM t FOR UPDATE NOWAIT",
        "select 1 from t for update\n nowait",
        "SELECT 1 FROM t FOR UPDATE WAIT 3",
        "SELECT 1 FROM t LOCK IN SHARE MODE NOWAIT",
        "SELECT `id` FROM `t` WHERE `a` = %s LIMIT 21 FOR UPDATE/**/NOWAIT",
        "ALTER TABLE t NOWAIT ADD COLUMN a INT",
        "LOCK TABLES t WRITE WAIT 1",
    ],
)
def test_impatient(sql: str) -> None:
    assert classify(sql).impatient


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1 FROM t FOR UPDATE SKIP LOCKED",
        "SELECT 'NOWAIT' FROM t FOR UPDATE",
        "SELECT `nowait`, `wait` FROM t FOR UPDATE",
        "SELECT 1 /* NOWAIT */ FROM t FOR UPDATE -- WAIT 3",
        "UPDATE t SET waiting = 1, no_wait = 2",
        "",
    ],
)
def test_patient(sql: str) -> None:
    assert not classify(sql).impatient
