"""Pretrained CLIPs from the files and hubs that people have."""
