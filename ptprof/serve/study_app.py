"""The app of a study, with all that belongs to it, in the process that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from ptprof.runtimes.device import resolve_device
from ptprof.serve.app import create_app
from ptprof.serve.endpoints import Everyone
from ptprof.serve.ledger import open_ledger
from ptprof.serve.loading import find_models
from ptprof.serve.page import Page
from ptprof.serve.served import Served
from ptprof.serve.study import Service


@contextmanager
def study_app(
    service: Service,
    *,
    threads: int | None = None,
    shared: str | None = None,
    everyone: Everyone | None = None,
) -> Iterator[Starlette]:
    """The app of ``service``, its models open; the block is to outlive the app's lifespan.

    Parameters
    ----------
    threads : see `ptprof.serve.loading.find_models`
    shared : see `ptprof.serve.ledger.open_ledger`
    everyone : see `ptprof.serve.app.create_app`
    """
    device = resolve_device(service.device)
    models = find_models(
        service.study, service.names, runtime=service.runtime, device=device, threads=threads
    )
    served = Served(service.study)
    with open_ledger(device, service.watts_per_core, shared) as ledger:
        yield create_app(
            models,
            limits=service.limits,
            batching=service.batching,
            memory_bytes=service.memory_bytes,
            token=service.token,
            ledger=ledger,
            price=service.price,
            served=served,
            page=Page(service.study, served, service.price),
            everyone=everyone,
        )
