"""Code that several formats share: label tables, caption tables, tar samples, loosely written JSON, panoptic maps."""
