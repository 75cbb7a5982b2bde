"""FiftyOne's own format on the disk, FiftyOneDataset: its documents, and the import of them."""
