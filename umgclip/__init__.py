"""umgclip: a CLIP that understands images, regions and pixels, and the pipeline that makes it."""

__version__ = "0.1.0"
