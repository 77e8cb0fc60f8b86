"""The buttons on the site's pages: what they do to the nodes, which belong to this process.

The site runs in processes of its own. They ask by a socket in a folder that nobody else can enter,
a line of JSON each way. A node is ended by its own process id.
"""

from __future__ import annotations

import json
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from demo.nodes import state
from galera_router.testing import ClusterError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from galera_router.testing import GaleraCluster, GaleraNode


class Refused(Exception):
    """It is not done; the text says why."""


class Buttons:
    """What the buttons may do to the nodes of a cluster, one at a time."""

    def __init__(self, cluster: GaleraCluster) -> None:
        self._nodes = {node.name: node for node in cluster.nodes}
        self._starting: set[str] = set()
        self._lock = Lock()

    def answer(self, question: dict[str, str]) -> dict[str, Any]:
        """What the site is told: ``processes``, or what was ``said``, or why it was ``refused``."""
        action, name = question.get("action", ""), question.get("node", "")
        if action == "look":
            return {"processes": {name: self.process(name) for name in self._nodes}}
        try:
            with self._lock:
                return {"said": self._do(action, name)}
        except (Refused, ClusterError) as error:
            return {"refused": str(error)}

    def process(self, name: str) -> str:
        """Of a node's server: "running", "frozen", "killed" or "starting"."""
        node = self._nodes[name]
        if name in self._starting:
            return "starting"
        if not node.running:
            return "killed"
        return "frozen" if node.frozen else "running"

    def _do(self, action: str, name: str) -> str:
        actions = {
            "kill": self._kill, "freeze": self._freeze, "thaw": self._thaw, "start": self._start,
        }  # fmt: skip
        if name not in self._nodes or action not in actions:
            raise Refused("There is no such node or action.")
        return actions[action](self._nodes[name])

    def _kill(self, node: GaleraNode) -> str:
        self._spare_the_majority(node)
        pid = node.pid
        node.kill()
        return f"kill -9 {pid}: {node.name} is dead."

    def _freeze(self, node: GaleraNode) -> str:
        self._spare_the_majority(node)
        node.freeze()
        return f"kill -STOP {node.pid}: {node.name} keeps its connections and answers nothing."

    def _thaw(self, node: GaleraNode) -> str:
        node.thaw()
        return f"kill -CONT {node.pid}: {node.name} goes on."

    def _start(self, node: GaleraNode) -> str:
        if node.running or node.name in self._starting:
            raise Refused(f"{node.name} runs already.")
        self._starting.add(node.name)
        Thread(target=self._join, args=(node,), daemon=True).start()
        return f"{node.name} starts, and catches up with the others."

    def _join(self, node: GaleraNode) -> None:
        try:
            node.start()
        except ClusterError as error:
            print(error, flush=True)
        finally:
            self._starting.discard(node.name)

    def _spare_the_majority(self, node: GaleraNode) -> None:
        """Galera takes no writes when a majority is lost at once; then there is nothing to see."""
        for other in self._nodes.values():
            if other is not node and (other.frozen or state(other) != "Synced"):
                raise Refused(
                    f"{other.name} is not back yet. A cluster that loses two of its three nodes"
                    " takes no writes, with whatever in front of it."
                )


class Control:
    """``with Control(cluster, path):`` the buttons work."""

    def __init__(self, cluster: GaleraCluster, path: Path) -> None:
        self._path = path
        self._server = _Server(path, Buttons(cluster))

    def __enter__(self) -> Control:
        Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, buttons: Buttons) -> None:
        self.buttons = buttons
        super().__init__(str(path), _Handler)


class _Handler(StreamRequestHandler):
    server: _Server
    timeout = 5.0  # seconds

    def handle(self) -> None:
        """Answer one line."""
        answer = self.server.buttons.answer(json.loads(self.rfile.readline()))
        self.wfile.write(json.dumps(answer).encode() + b"\n")
