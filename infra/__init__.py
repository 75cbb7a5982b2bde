"""The servers around the pipeline: started on this machine, described for containers and clusters."""
