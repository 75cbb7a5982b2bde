"""Stage `annotate`: captions, tags, boxes and masks for raw images, each with its score and source."""
