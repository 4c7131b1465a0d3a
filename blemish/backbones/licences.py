"""Licences of pretrained weights: those that anybody may use for anything, and those that somebody must accept."""

from __future__ import annotations

from blemish.errors import BackboneError

# As timm and the hub spell them. They ask for no more than a notice.
FREE = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "unlicense"})
UNKNOWN = "unknown"


def stated_licence(name: str) -> str:
    """The licence that timm states for its weights of a network, `unknown` where it states none."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return str(config.license or UNKNOWN).lower() if config is not None else UNKNOWN


def accepted_licence(name: str, accepted: str | None) -> str:
    """The licence of timm's weights of a network.

    Raises `BackboneError` where it has terms of its own, such as a ban on commercial use, and they are not accepted by
    the licence's name.
    """
    licence = stated_licence(name)
    if licence in FREE or licence == UNKNOWN or licence == (accepted or "").lower():
        return licence
    given = f"not to {accepted}; " if accepted else ""
    raise BackboneError(
        f"the weights of {name} are under the licence {licence}, which has terms of its own: read them, and accept "
        f"them by {given}Model.accept_licence={licence}, or take another backbone"
    )
