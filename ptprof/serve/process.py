"""The process that serves a study: ``python -m ptprof.serve.process``, see `ptprof.serve.supervisor`."""

from __future__ import annotations

import os
import socket

from ptprof.runtimes.threads import spin_briefly
from ptprof.serve.study import Service
from ptprof.serve.supervisor import supervised


def run(service: Service, listener: socket.socket) -> None:
    """Open the models of ``service`` and serve them on ``listener`` until this process is told to stop."""
    from ptprof.serve import server
    from ptprof.serve.study_app import study_app

    with study_app(service) as app:
        server.run(app, listener)


if __name__ == "__main__":
    spin_briefly(os.environ)
    with supervised() as (service, listener):
        run(service, listener)
