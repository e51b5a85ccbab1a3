"""Peers by the address of their store, or by name."""

from lib9.errors import UsageError


def peer_address(peer: str) -> str:
    """Return the address of a peer's store, which may be given by the name of its node."""
    from venti_store import known
    from venti_store.open import is_local

    if not is_local(peer) or "/" in peer:
        return peer
    found = known.peers().by_name(peer)
    if found is None or not found.dials:
        raise UsageError(f"{peer}: neither an address nor a node of the ndb file with dial=")
    return found.dials[0]
