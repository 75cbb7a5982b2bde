"""Where raw images come from. Each source writes shards of images with alt text, and a manifest."""
