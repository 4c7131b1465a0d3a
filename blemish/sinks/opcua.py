"""The last verdict as OPC UA variables; needs `blemish[opcua]`."""

from __future__ import annotations

from blemish.store import Inspection


class OpcUaServer:
    """An OPC UA server with the last verdict, score, threshold and counters of every model. A context manager."""

    def __init__(self, endpoint: str = "opc.tcp://127.0.0.1:4840/blemish") -> None:
        raise NotImplementedError

    def update(self, inspection: Inspection) -> None:
        """Show an inspection; does not wait."""
        raise NotImplementedError

    def start(self) -> None:
        """Listen. Raises `UsageError` where the endpoint cannot be used."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the server."""
        raise NotImplementedError
