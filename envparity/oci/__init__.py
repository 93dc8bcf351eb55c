"""Images as values and as places: specification documents, layers, layouts, archives, the merged tree, the check."""
