"""Online: a bundle in, debiased top-k over HTTP out."""
