"""A cluster by Ray: connecting to one, and letting its devices work, each on one thing at a time.

It takes callables and knows nothing of models. Ray is an extra, and is loaded when a cluster is asked for.
"""

from __future__ import annotations

from ptprof.cluster.connection import start
from ptprof.cluster.dealing import deal
from ptprof.cluster.devices import Device
from ptprof.cluster.executor import Executor
from ptprof.cluster.pinning import pinned

__all__ = ["Device", "Executor", "deal", "pinned", "start"]
