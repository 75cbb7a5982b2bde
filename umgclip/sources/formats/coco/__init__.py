"""COCO: images with captions, instances or panoptic segments, and data sets written like it (LVIS, ADE20K panoptic)."""
