"""The last verdict as OPC UA variables; needs `blemish[opcua]`."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import Counter
from concurrent.futures import Future
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from blemish.errors import UsageError, install_command
from blemish.store import Inspection

if TYPE_CHECKING:
    from asyncua.server.server import Server

NAMESPACE = "urn:blemish:inspections"
_START_S = 120.0  # it makes thousands of nodes first


class OpcUaServer:
    """An object for each model, below `Blemish`, with read-only variables. A context manager.

    `Time`, `Source`, `Score`, `Threshold`, `PValue` (-1 where there is none) and `IsAnomalous` are of the last
    inspection, `Inspected` and `Anomalous` count those since the start. The server neither encrypts nor asks who reads:
    it belongs on the plant's own network, and listens on this machine alone unless the endpoint says otherwise.

    Raises `UsageError` for what is no endpoint and without `blemish[opcua]`.
    """

    def __init__(self, endpoint: str = "opc.tcp://127.0.0.1:4840/blemish") -> None:
        if find_spec("asyncua") is None:
            raise UsageError(f"OPC UA needs asyncua: {install_command('opcua')}")
        if not re.fullmatch(r"opc\.tcp://(\[[0-9a-fA-F:.]+\]|[^\s/:@]+):\d{1,5}(/\S*)?", endpoint):
            raise UsageError(f"an OPC UA endpoint is opc.tcp://HOST:PORT/PATH, not {endpoint!r}")
        # what goes wrong is told by exceptions; it would write every one to stderr, with its traceback
        logging.getLogger("asyncua").addHandler(logging.NullHandler())
        self._endpoint = endpoint
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blemish-opcua", daemon=True)
        self._server: Server | None = None
        self._variables: dict[str, dict[str, Any]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock: asyncio.Lock | None = None

    def start(self) -> None:
        """Listen. Raises `UsageError` where the endpoint cannot be used."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_START_S)
        except Exception as error:
            self._end_loop()
            raise UsageError(f"the OPC UA endpoint {self._endpoint} cannot be used: {error}") from error

    def update(self, inspection: Inspection) -> Future[None]:
        """Show an inspection; the future ends when clients see it."""
        return asyncio.run_coroutine_threadsafe(self._show(inspection), self._loop)

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(_START_S)
            self._server = None
        self._end_loop()

    def __enter__(self) -> OpcUaServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        from asyncua.server.server import Server
        from asyncua.ua import SecurityPolicyType

        server = Server()
        await server.init()
        server.set_security_policy([SecurityPolicyType.NoSecurity])
        server.set_endpoint(self._endpoint)
        server.set_server_name("Blemish")
        self._namespace = await server.register_namespace(NAMESPACE)
        self._root = await server.nodes.objects.add_object(self._namespace, "Blemish")
        self._lock = asyncio.Lock()
        await server.start()
        self._server = server

    async def _show(self, inspection: Inspection) -> None:
        assert self._lock is not None
        model = inspection.model
        async with self._lock:
            self._counts[model, "Inspected"] += 1
            self._counts[model, "Anomalous"] += inspection.is_anomalous
            values = {
                "Time": inspection.time,
                "Source": inspection.source or "",
                "Score": inspection.score,
                "Threshold": inspection.threshold,
                "PValue": -1.0 if inspection.p_value is None else inspection.p_value,
                "IsAnomalous": inspection.is_anomalous,
                "Inspected": self._counts[model, "Inspected"],
                "Anomalous": self._counts[model, "Anomalous"],
            }
            if model not in self._variables:
                shown = await self._root.add_object(self._namespace, model)
                self._variables[model] = {
                    name: await shown.add_variable(self._namespace, name, value) for name, value in values.items()
                }
            for name, value in values.items():
                await self._variables[model][name].write_value(value)
