"""Name `umgclip.flows.take_part` for `python -m flows.take_part`."""

from umgclip.flows.take_part import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
