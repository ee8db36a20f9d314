"""The process that serves a study: ``python -m ptprof.serve.process``, see `ptprof.serve.supervisor`."""

from __future__ import annotations

import os
import socket

from ptprof.runtimes.threads import spin_briefly
from ptprof.serve.study import Service
from ptprof.serve.supervisor import supervised


def run(service: Service, listener: socket.socket) -> None:
    """Open the models of ``service`` and serve them on ``listener`` until this process is told to stop."""
    from ptprof.runtimes.device import resolve_device
    from ptprof.serve import server
    from ptprof.serve.app import create_app
    from ptprof.serve.ledger import open_ledger
    from ptprof.serve.loading import find_models
    from ptprof.serve.page import Page
    from ptprof.serve.served import Served

    device = resolve_device(service.device)
    models = find_models(service.study, service.names, runtime=service.runtime, device=device)
    served = Served(service.study)
    with open_ledger(device, service.watts_per_core) as ledger:
        app = create_app(
            models,
            limits=service.limits,
            batching=service.batching,
            memory_bytes=service.memory_bytes,
            token=service.token,
            ledger=ledger,
            price=service.price,
            served=served,
            page=Page(service.study, served, service.price),
        )
        server.run(app, listener)


if __name__ == "__main__":
    spin_briefly(os.environ)
    with supervised() as (service, listener):
        run(service, listener)
