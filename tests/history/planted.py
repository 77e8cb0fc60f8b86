"""Histories with one anomaly each, to see that the checker finds it, and nothing else.

They are written as `written.parse` reads them.
"""

from __future__ import annotations

from tests.history.levels import Kind

PLANTED: dict[str, tuple[Kind, str]] = {
    "two transactions write two lists in different orders": (
        Kind.G0,
        """
        a A: x+1 y+1
        b B: x+2 y+2
        end: x[1,2] y[2,1]
        """,
    ),
    "one transaction is written into by another": (
        Kind.G0,
        """
        a A: x+1 x+3
        b B: x+2
        end: x[1,2,3]
        """,
    ),
    "two registers are written in different orders": (
        Kind.G0,
        """
        a A: r:=1 s:=2
        b B: r:=3 s:=4
        order: r[1,3] s[4,2]
        """,
    ),
    "a read of what was given up": (
        Kind.G1A,
        """
        a A aborted: x+1
        b B: x[1]
        end: x[]
        """,
    ),
    "a read of a register that was given up": (
        Kind.G1A,
        """
        a A aborted: r:=1
        b B: r=1
        """,
    ),
    "what was given up is there at the end": (
        Kind.G1A,
        """
        a A: x+1
        b B aborted: x+2
        end: x[1,2]
        """,
    ),
    "a register that was given up is there at the end": (
        Kind.G1A,
        """
        a A aborted: r:=1
        end: r=1
        """,
    ),
    "a read between two appends of another": (
        Kind.G1B,
        """
        a A: x+1 x+2
        b B: x[1]
        end: x[1,2]
        """,
    ),
    "a read between two writes of another": (
        Kind.G1B,
        """
        a A: r:=1 r:=2
        b B: r=1
        end: r=2
        """,
    ),
    "two that see each other's writes": (
        Kind.G1C,
        """
        a A: x+1 y[2]
        b B: y+2 x[1]
        end: x[1] y[2]
        """,
    ),
    "three that see each other's writes": (
        Kind.G1C,
        """
        a A: x+1 z[3]
        b B: y+2 x[1]
        c C: z+3 r:=1 y[2]
        end: x[1] y[2] z[3]
        """,
    ),
    "one write seen, an older one of the same transaction not": (
        Kind.G_SINGLE,
        """
        a A: x+1 y+1
        b B: x[] y[1]
        end: x[1] y[1]
        """,
    ),
    "a list that grows while it is read": (
        Kind.G_SINGLE,
        """
        a A: x+1
        b B: x[] x[1]
        end: x[1]
        """,
    ),
    "an old register beside a new one": (
        Kind.G_SINGLE,
        """
        a A: r=1 r:=2 s:=2
        b B: r:=1
        c C: r=1 s=2
        """,
    ),
    "an old read, and a new one of what was done later still": (
        Kind.G_SINGLE,
        """
        a A: x+1 y+1
        b B: y[1] z+1
        c C: x[] z[1]
        end: x[1] y[1] z[1]
        """,
    ),
    "two readers that see two writes in different orders": (
        Kind.G_NONADJACENT,
        """
        a A: x+1
        b B: y+1
        c C: x[1] y[]
        d D: x[] y[1]
        end: x[1] y[1]
        """,
    ),
    "two readers that see two registers change in different orders": (
        Kind.G_NONADJACENT,
        """
        a A: r= r:=1
        b B: s= s:=1
        c C: r=1 s=
        d D: r= s=1
        """,
    ),
    "each writes what the other has read": (
        Kind.G2_ITEM,
        """
        a A: x[] y+1
        b B: y[] x+1
        end: x[1] y[1]
        """,
    ),
    "three of which each writes what the next one has read": (
        Kind.G2_ITEM,
        """
        a A: x[] y+1
        b B: y[] z+1
        c C: z[] x+1
        end: x[1] y[1] z[1]
        """,
    ),
    "two that read two registers and write one each": (
        Kind.G2_ITEM,
        """
        a A: r= s= r:=1
        b B: r= s= s:=1
        """,
    ),
    "appended after what had not been read": (
        Kind.LOST_UPDATE,
        """
        a A: x[] x+1
        b B: x[] x+2
        end: x[1,2]
        """,
    ),
    "saved over what another had saved": (
        Kind.LOST_UPDATE,
        """
        a A: x[] x+1
        b B: x[1] x+2
        c C: x[1] x+3
        end: x[1,3]
        """,
    ),
    "a register written by two that have read the same": (
        Kind.LOST_UPDATE,
        """
        a A: r= r:=1
        b B: r= r:=2
        """,
    ),
    "a register written over what was not read, as the server has noted": (
        Kind.LOST_UPDATE,
        """
        a A: r:=1
        b B: r= r:=2
        order: r[1,2]
        """,
    ),
    "told as done and not there": (
        Kind.LOST_WRITE,
        """
        a A: x+1
        b B: x+2
        end: x[2]
        """,
    ),
    "read, and later not there": (
        Kind.LOST_WRITE,
        """
        a A: x+1
        b B: x[1]
        c C: x+2
        end: x[2]
        """,
    ),
    "a register that is not there": (
        Kind.LOST_WRITE,
        """
        a A: r:=1
        end: r=
        """,
    ),
    "a register that went back to what it was": (
        Kind.LOST_WRITE,
        """
        a A: r= r:=1
        b B: r=1 r:=2
        end: r=1
        """,
    ),
    "a register's write that the server has not noted": (
        Kind.LOST_WRITE,
        """
        a A: r:=1
        b B: r:=2
        order: r[2]
        """,
    ),
    "a half of what nobody was told of": (
        Kind.TORN,
        """
        a A unknown: x+1 y+1
        b B: x[1]
        end: x[1] y[]
        """,
    ),
    "done twice": (
        Kind.DUPLICATE,
        """
        a A: x+1
        b B: x[1]
        end: x[1,1]
        """,
    ),
    "done twice, another in between": (
        Kind.DUPLICATE,
        """
        a A unknown: x+1
        b B: x+2
        end: x[1,2,1]
        """,
    ),
    "of nobody": (
        Kind.MADE_UP,
        """
        a A: x+1
        b B: x[1,9]
        """,
    ),
    "a register's value of nobody": (
        Kind.MADE_UP,
        """
        a A: r=9
        """,
    ),
    "two reads of which none is a beginning of the other": (
        Kind.INCOMPATIBLE,
        """
        a A: x+1
        b B: x+2
        c C: x[1,2]
        d D: x[2,1]
        """,
    ),
    "the end is another order than what was read": (
        Kind.INCOMPATIBLE,
        """
        a A: x+1
        b B: x+2
        c C: x[1,2]
        end: x[2,1]
        """,
    ),
    "an append that its own transaction does not see": (
        Kind.INTERNAL,
        """
        a A: x+1
        b B: x+2 x[1]
        end: x[1,2]
        """,
    ),
    "a write that its own transaction does not see": (
        Kind.INTERNAL,
        """
        a A: r:=1
        b B: r:=2 r=1
        """,
    ),
    "a list in which somebody came after an append that is not committed": (
        Kind.INTERNAL,
        """
        a A: x+1
        b B: x+2 x[2,1]
        """,
    ),
    "a write that the next transaction of the session does not see": (
        Kind.OWN_WRITES,
        """
        a A: x+1
        b A: x[]
        end: x[1]
        """,
    ),
    "a register that a later transaction of the session does not see": (
        Kind.OWN_WRITES,
        """
        a A: r= r:=1
        b A: x+1
        c A: r=
        end: x[1]
        """,
    ),
    "a list that is shorter than at the session's last look": (
        Kind.MONOTONIC,
        """
        a A: x+1
        b B: x[1]
        c B: x[]
        end: x[1]
        """,
    ),
    "something older than what was seen, by way of another": (
        Kind.MONOTONIC,
        """
        a A: x+1
        b B: x[1] y+1
        c C: y[1]
        d C: x[]
        end: x[1] y[1]
        """,
    ),
    "a session's second write before its first": (
        Kind.SESSION,
        """
        a A: x+1
        b A: x+2
        end: x[2,1]
        """,
    ),
    "a session's second write seen without its first": (
        Kind.G_SINGLE,
        """
        a A: x+1
        b A: y+1
        c C: x[] y[1]
        end: x[1] y[1]
        """,
    ),
    "a token's transaction is not seen": (
        Kind.TOKEN,
        """
        a A: x+1
        b B after=a: x[]
        end: x[1]
        """,
    ),
    "a token's transaction is seen, and not what it had seen": (
        Kind.TOKEN,
        """
        a A: x+1
        b B: x[1] y+1
        c C after=b: x[]
        end: x[1] y[1]
        """,
    ),
    "a token's transaction is not seen by the next one of the session": (
        Kind.TOKEN,
        """
        a A: r= r:=1
        b B after=a: y[]
        c B: r=
        """,
    ),
    "written before what its token names": (
        Kind.TOKEN,
        """
        a A: x+1
        b B after=a: x+2
        end: x[2,1]
        """,
    ),
}
