"""Reading and writing: images, shards, tables, files that appear whole or not at all."""
