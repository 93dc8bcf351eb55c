"""What goes into an image: each part as entries of a layer, made from locked bytes alone."""
