"""Habits that all commands share: options, output, completion, messages about wrong usage."""
