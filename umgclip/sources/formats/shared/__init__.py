"""What several formats share: label tables, caption tables, tar samples, loose JSON, panoptic maps."""
