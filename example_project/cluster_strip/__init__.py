"""A strip on every page that shows the cluster: its nodes, who answered, and what went wrong.

* ``counts`` has the figures that all processes of the site share, ``losses`` adds failovers;
* ``views`` answers the strip's script, and does what its buttons say;
* ``control`` speaks to the demo, which owns the nodes; without the demo there are no buttons.

It is for a demonstration: anybody may look. On a site of your own, the page of
``galera_router.staff`` in Django's admin shows the same to those who may see it.
"""

from __future__ import annotations
