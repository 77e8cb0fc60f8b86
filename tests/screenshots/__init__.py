"""The pictures of README and docs, taken of the demo: ``make screenshots``.

* ``scenes`` has a browser play each of them;
* ``pictures`` makes small files of what it shows.
"""

from __future__ import annotations
