"""Record files of images, as MXNet and InsightFace write them."""
