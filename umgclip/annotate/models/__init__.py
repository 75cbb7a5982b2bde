"""Models that fill the roles of an annotator, and the offline parts that need no weights."""
