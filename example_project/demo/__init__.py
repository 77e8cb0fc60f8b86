"""The demonstration: a site that keeps answering while its database nodes are killed.

``python -m demo`` from the folder above; ``--help`` tells the options.

* ``show`` is the plot: cluster, site, visitors, storm, report;
* ``site`` runs the bank behind a WSGI server, ``load`` its visitors, each in a process of its own;
* ``storm`` kills nodes and brings them back, ``nodes`` looks at them;
* ``control`` does what the buttons on the site's pages say, once the storm is over;
* ``audit`` compares what the visitors were told with what the nodes hold.
"""

from __future__ import annotations
