"""What each server is: reachable, of the right kind, in the right cluster, set safely."""

from __future__ import annotations

import re
from collections import Counter

from django.core.checks import CheckMessage

from galera_router.cluster.nodes import Cluster
from galera_router.connections.errors import errno, is_of_set_up

from .messages import error, listed, warning
from .probe import Report

#: Seconds: processes on several machines elect by the time of day.
MOST_SKEW = 1.0
OLDEST = (10, 6)
#: The first release of each series with innodb_snapshot_isolation.
_GUARDED = {
    (10, 6): 18, (10, 11): 8, (11, 0): 6, (11, 1): 5, (11, 2): 4, (11, 4): 2,
}  # fmt: skip
_REFUSED = frozenset({1045, 1130, 1698, 2026, 2054, 2059})
_NO_DATABASE = frozenset({1044, 1049})
_UNKNOWN_CHARSET = 2019
#: Modes in which the same text is another statement: what a backslash, what quotation marks mean.
_OTHER_TEXT = frozenset({"NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"})
_ALIKE = (
    'Set the same sql_mode on all servers, or one for all of them as OPTIONS["sql_mode"] of the'
    " cluster; take what changes it out of the init_command of single nodes."
)


def check(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """Each node by itself, then all of them together."""
    answered = [report for report in reports if report.error is None]
    messages = [_absent(cluster, report) for report in reports if report.error is not None]
    messages += [_kind(cluster, report) for report in answered if not report.is_mariadb]
    known = [report for report in answered if report.is_mariadb]
    for report in known:
        for question in (_database, _age, _guard, _session, _primary_session, _clock, _several):
            messages += question(cluster, report)
    for together in (
        _same,
        _alike,
        _flush,
        _out,
        _without_galera,
        _foreign,
        _gtid,
        _reading,
        _mode,
    ):
        messages += together(cluster, known)
    return messages


# One node


def _absent(cluster: Cluster, report: Report) -> CheckMessage:
    number = errno(report.error) if report.error else -1
    node, user = _node(cluster, report), report.node.config.role_settings["USER"]
    if number in _REFUSED:
        return error(
            10,
            f"{node} refuses the user {user!r}: {report.error}",
            "Correct USER, PASSWORD or the TLS options of the node, or the account on the server."
            " Accounts are the same on all nodes of a cluster.",
        )
    if number in _NO_DATABASE:
        return error(
            11,
            f"{node} lacks the database, or {user!r} may not use it: {report.error}",
            "Correct NAME, create the database, or grant the user its rights.",
        )
    if (report.error and is_of_set_up(report.error)) or number == _UNKNOWN_CHARSET:
        return error(
            21,
            f"{node} refuses what it is sent on connecting: {report.error}",
            "Correct init_command, sql_mode, charset or collation in OPTIONS.",
        )
    return warning(
        6,
        f"{node} cannot be reached: {report.error}",
        "Nothing to do if it is down for a while. Otherwise correct HOST and PORT.",
    )


def _database(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if report.database:
        return []
    return [
        error(
            11,
            f"Connections to {_node(cluster, report)} are in no database: NAME is empty.",
            "Write the database's name as NAME, beside NODES.",
        )
    ]


def _kind(cluster: Cluster, report: Report) -> CheckMessage:
    comment = report.variables.get("version_comment", "")
    return error(
        14,
        f"{_node(cluster, report)} is no MariaDB: its version is {report.version!r} ({comment}).",
        "Use MariaDB 10.6 or newer with Galera 4. MySQL and Percona XtraDB Cluster are not"
        " supported: galera_router relies on SET STATEMENT … FOR and on compound statements.",
    )


def _age(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if _numbers(report.version)[:2] >= OLDEST:
        return []
    return [
        error(
            15,
            f"{_node(cluster, report)} runs {report.version}; galera_router needs 10.6 or newer.",
            "Upgrade the server.",
        )
    ]


def _guard(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if not cluster.config.options.lost_update_guard or _has_guard(_numbers(report.version)):
        return []
    return [
        error(
            16,
            f"lost_update_guard is on, and {_node(cluster, report)} runs"
            f" {report.version}, which lacks"
            " innodb_snapshot_isolation: every transaction would fail with 1193.",
            "Upgrade to 10.6.18, 10.11.8, 11.0.6, 11.1.5, 11.2.4, 11.4.2 or newer, or turn the"
            " option off.",
        )
    ]


def _session(cluster: Cluster, report: Report) -> list[CheckMessage]:
    wanted = {"tx_isolation": "REPEATABLE-READ", "tx_read_only": "ON", "autocommit": "ON"}
    wrong = [
        f"{name} = {report.session.get(name, '')}"
        for name, value in wanted.items()
        if report.session.get(name) != value
    ]
    if not wrong:
        return []
    return [
        error(
            17,
            f"Sessions of the alias {report.node.alias!r} begin with {', '.join(wrong)}; they must"
            " be REPEATABLE-READ, read-only and with autocommit. Reads would not see one snapshot,"
            " or writes would run on a secondary.",
            "Leave OPTIONS of node aliases as expand() makes them; an ENGINE of your own must"
            " pass init_command and autocommit on to the driver.",
        )
    ]


def _primary_session(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if report.role_session.get("tx_isolation") != "READ-UNCOMMITTED":
        return []
    return [
        warning(
            12,
            f"Transactions of {cluster.alias!r} run at READ UNCOMMITTED on {report.node.name}:"
            " reads that are repeated at the first write would meet what others have not yet"
            " committed, and differ.",
            'Set OPTIONS["isolation_level"] to "read committed" or "repeatable read".',
        )
    ]


def _clock(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if abs(report.skew) <= MOST_SKEW + report.doubt:
        return []
    way = "ahead of" if report.skew > 0 else "behind"
    return [
        warning(
            9,
            f"The clock of {_node(cluster, report)} is {abs(report.skew):.1f} s {way} this"
            " machine's. The processes agree by the time of day when a node is primary again.",
            "Synchronise the clocks of all servers and of all machines of the application (NTP).",
        )
    ]


def _several(cluster: Cluster, report: Report) -> list[CheckMessage]:
    if len(report.servers) < 2:
        return []
    return [
        warning(
            19,
            f"{_node(cluster, report)} is several servers: {listed(sorted(report.servers))}. What"
            " is known of one of them does not hold for the next connection, and a failover"
            " cannot tell them apart.",
            "Give each server a place of its own in NODES, by an address that is no balancer's.",
        )
    ]


# All together


def _same(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """HOST may be another name of a node, and is not asked for that."""
    names: dict[object, list[str]] = {}
    for report in reports:
        if report.node.config.member:
            names.setdefault(report.server, []).append(report.node.name)
    return [
        warning(
            14,
            f"The nodes {listed(same)} of {cluster.alias!r} are one server under several names:"
            " a failover from one to the other would not help.",
            "Keep one of them in NODES.",
        )
        for same in names.values()
        if len(same) > 1
    ]


def _alike(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """The table says by its name which server is the primary, and which are drained."""
    known: dict[str, dict[object, str]] = {}
    for report in reports:
        if report.node.config.member and len(report.servers) == 1:
            (name,) = report.servers
            known.setdefault(name, {})[report.server] = report.node.name
    return [
        error(
            23,
            f"The nodes {listed(sorted(nodes.values()))} of {cluster.alias!r} are different servers"
            f" of one name, {name!r}: each is taken for the primary if one is, and nothing keeps"
            " two processes from writing to two of them.",
            "Give each server a wsrep_node_name of its own, or another host name.",
        )
        for name, nodes in known.items()
        if len(nodes) > 1
    ]


def _flush(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    name = "innodb_flush_log_at_trx_commit"
    values = {report.node.name: report.variables.get(name, "1") for report in reports}
    unsafe = [f"{node} ({value})" for node, value in values.items() if value != "1"]
    if not unsafe:
        return []
    return [
        warning(
            8,
            f"{name} is not 1 on nodes of {cluster.alias!r}: {listed(unsafe)}. Acknowledged"
            " commits are lost when all nodes crash together (MDEV-38974, 38976, 38977, 38999).",
            "Set it to 1. If such a loss is acceptable, silence this check.",
        )
    ]


def _out(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    return [
        warning(
            6,
            f"{_node(cluster, report)} takes no part in its cluster now: wsrep_ready ="
            f" {report.status.get('wsrep_ready')}, wsrep_cluster_status ="
            f" {report.status.get('wsrep_cluster_status')}.",
            "Nothing to do if it is joining. Otherwise look into the server's error log.",
        )
        for report in reports
        if report.has_galera and report.status.get("wsrep_ready") != "ON"
    ]


def _without_galera(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """A single server may be without: on a developer's machine, say."""
    if len(cluster.nodes) == 1:
        return []
    return [
        error(
            12,
            f"{_node(cluster, report)} runs without Galera (wsrep_on ="
            f" {report.variables.get('wsrep_on', 'OFF')}, wsrep_provider ="
            f" {report.variables.get('wsrep_provider', 'none')!r}): nothing that is written there"
            " reaches the other nodes, and nothing of theirs reaches it.",
            "Take it out of NODES, or let it join the cluster.",
        )
        for report in reports
        if not report.has_galera
    ]


def _foreign(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """Judged by most of those that answer; of two that are as many, by the first in NODES."""
    told = {r.node.name: _cluster(r) for r in reports if r.has_galera}
    if len(set(told.values())) < 2:
        return []
    ours = Counter(told.values()).most_common(1)[0][0]
    members = ", ".join(name for name, identity in told.items() if identity == ours)
    return [
        error(
            13,
            f"{_node(cluster, report)} belongs to another cluster: it is in {_cluster(report)},"
            f" {members} in {ours}. It is not used.",
            "Take it out of NODES. Two clusters are two entries of DATABASES, each with NODES.",
        )
        for report in reports
        if report.has_galera and _cluster(report) != ours
    ]


def _gtid(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    if not cluster.config.options.wsrep_sync_use_gtid:
        return []
    galera = [report for report in reports if report.has_galera]
    off = [r.node.name for r in galera if r.variables.get("wsrep_gtid_mode") != "ON"]
    domains = {r.variables.get("wsrep_gtid_domain_id", "") for r in galera}
    silent = [r.node.name for r in galera if r.variables.get("log_slave_updates") != "ON"]
    problems = {
        f"wsrep_gtid_mode is off on {listed(off)}": bool(off),
        f"wsrep_gtid_domain_id differs: {listed(sorted(domains))}": len(domains) > 1,
        f"log_slave_updates is off on {listed(silent)}": bool(silent),
    }
    found = [problem for problem, is_there in problems.items() if is_there]
    if not found:
        return []
    return [
        warning(
            7,
            f"wsrep_sync_use_gtid is on for {cluster.alias!r}, but {'; '.join(found)}: the nodes"
            " may count GTIDs differently.",
            "Set wsrep_gtid_mode, log_slave_updates and the same wsrep_gtid_domain_id on all nodes,"
            " or turn the option off. Some releases let GTIDs drift apart all the same"
            " (MDEV-26359, MDEV-26176, MDEV-37373): compare SELECT WSREP_LAST_SEEN_GTID() on all"
            " nodes of an idle cluster.",
        )
    ]


def _reading(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    """Values are written into a statement for one node, and it may have to go to another one."""
    modes = _uneven(reports, "sql_mode")
    uneven = {mode: nodes for mode, nodes in modes.items() if mode in _OTHER_TEXT}
    uneven |= _uneven(reports, "character_set_client")
    if not uneven:
        return []
    return [
        error(
            22,
            f"Sessions on the nodes of {cluster.alias!r} read the same text in different ways:"
            f" {_where(uneven)}, but not on all. With other backslashes or another character set"
            " nothing can go from one node to another; with ANSI_QUOTES it means something else.",
            _ALIKE,
        )
    ]


def _mode(cluster: Cluster, reports: list[Report]) -> list[CheckMessage]:
    modes = _uneven(reports, "sql_mode")
    uneven = {mode: nodes for mode, nodes in modes.items() if mode not in _OTHER_TEXT}
    if not uneven:
        return []
    return [
        warning(
            21,
            f"Sessions on the nodes of {cluster.alias!r} differ in their sql_mode:"
            f" {_where(uneven)}, but not on all. What one node takes may be refused by another, or"
            " give another answer there.",
            _ALIKE,
        )
    ]


def _uneven(reports: list[Report], variable: str) -> dict[str, list[str]]:
    """The parts of a variable that not all sessions have, and the nodes on which some have them."""
    sessions = [(r.node.name, s) for r in reports for s in (r.role_session, r.session)]
    found: dict[str, list[str]] = {}
    for node, session in sessions:
        for part in filter(None, session.get(variable, "").split(",")):
            found.setdefault(part, []).append(node)
    total = len(sessions)
    return {part: list(dict.fromkeys(on)) for part, on in found.items() if len(on) < total}


def _where(uneven: dict[str, list[str]]) -> str:
    return "; ".join(f"{part} on {listed(nodes)}" for part, nodes in sorted(uneven.items()))


def _node(cluster: Cluster, report: Report) -> str:
    return f"Node {report.node.name} of {cluster.alias!r}"


def _cluster(report: Report) -> str:
    name = report.variables.get("wsrep_cluster_name", "")
    return f"{report.status['wsrep_cluster_state_uuid']} ({name})"


def _numbers(version: str) -> tuple[int, int, int]:
    found = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)


def _has_guard(version: tuple[int, int, int]) -> bool:
    series, release = version[:2], version[2]
    return series > max(_GUARDED) or release >= _GUARDED.get(series, release + 1)
