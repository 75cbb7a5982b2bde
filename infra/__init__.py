"""The servers that the pipeline uses: started on this machine, and described for containers and clusters."""
