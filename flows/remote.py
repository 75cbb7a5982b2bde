"""Name `umgclip.flows.remote` for Prefect's `flows/remote.py:remote_stage`."""

from umgclip.flows.remote import remote_stage

__all__ = ["remote_stage"]
