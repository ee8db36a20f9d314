"""The page at ``/``: its files, and what it shows beside what the protocol tells."""

from __future__ import annotations

import asyncio
import itertools
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ptprof.amortise.amortising import Costs, amortise
from ptprof.amortise.costs import Assumptions, Query, from_study
from ptprof.amortise.volume import served_records, served_steps
from ptprof.errors import DataError, ProtocolError, PtprofError
from ptprof.serve.price import Price
from ptprof.serve.response import JSONResponse
from ptprof.serve.served import Served
from ptprof.study import Study
from ptprof.train import data as data_room

FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
# Nothing but what the page brings along is loaded, and no other page may show it in a frame.
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
MOST_TRAJECTORIES = 24
MOST_STATES = 64


class Page:
    """A page that needs nothing but this server.

    Parameters
    ----------
    served : the running total that its costs are of
    """

    def __init__(self, study: Study, served: Served, price: Price) -> None:
        self._study = study
        self._served = served
        self._price = price
        self._costs: Costs | None = None
        folder = files("ptprof.serve") / "static"
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
        try:
            split = data_room.info(study.data).splits["test"]
            self._trajectories, self._states = min(split.trajectories, MOST_TRAJECTORIES), split.steps
        except DataError:
            self._trajectories = self._states = 0

    def routes(self) -> list[Route]:
        return [
            *(Route(path, self.file) for path in FILES),
            Route("/page/overview", self.overview),
            Route("/page/trajectories/{index:int}", self.trajectory),
        ]

    async def file(self, request: Request) -> Response:
        content, kind = self._files[request.url.path if request.url.path in self._files else "/"]
        return Response(content, media_type=kind, headers=HEADERS)

    async def overview(self, _: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._overview))

    async def trajectory(self, request: Request) -> Response:
        """The first states of a test trajectory, ``(T, C, X, Y)``, little-endian FP32 in C order."""
        index = request.path_params["index"]
        states = _count(request.query_params.get("states", ""))
        if index >= self._trajectories:
            raise ProtocolError(f"there are {self._trajectories} test trajectories, counted from 0", 404)
        values = await asyncio.to_thread(self._read, index, min(states, self._states))
        shape = "x".join(map(str, values.shape))
        return Response(
            values.astype("<f4").tobytes(),
            media_type="application/octet-stream",
            headers={"ptprof-shape": shape},
        )

    def _read(self, index: int, states: int) -> NDArray[np.float32]:
        split = data_room.Windows(self._study.data, "test", 1, preload=False)
        (one,) = itertools.islice(split.trajectories(batch=1, steps=states), index, index + 1)
        values: NDArray[np.float32] = one[0].numpy()
        return values

    def _overview(self) -> dict[str, Any]:
        self._served.write()
        records = served_records(self._study)
        steps = served_steps(records)
        totals = [model for record in records for model in record.models]
        return {
            "trajectories": self._trajectories,
            "states": self._states,
            "served": {
                "requests": sum(total.requests for total in totals),
                "steps": steps,
                "energy_j": sum(total.energy_j for total in totals),
                "co2eq_g": sum(total.co2eq_g for total in totals),
            },
            "amortised": self._amortised(steps),
        }

    def _amortised(self, steps: int) -> dict[str, Any]:
        """Totals and break-even points at what was served so far; or why there are none."""
        try:
            if self._costs is None:
                rates = Assumptions.at(self._price.intensity_g_per_kwh, self._price.pue)
                self._costs = from_study(self._study, Query(), assumptions=rates)
            return amortise(self._costs, [float(max(steps, 1))]).model_dump(mode="json")
        except PtprofError as error:
            return {"missing": str(error)}


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_STATES:
        raise ProtocolError(f"states is a number from 1 to {MOST_STATES}")
    return int(text)
