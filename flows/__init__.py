"""Names of `umgclip.flows` in a checkout: its commands, and the flows that deployments of Prefect name by file."""
