"""Recipes: parameters for runs that people really make, each with its cost and the mark that it should reach.

A recipe is a YAML file in this folder. It holds what differs from the defaults, and `umgclip recipe use` makes a whole
`params.yaml` of it.
"""
