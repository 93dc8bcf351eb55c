"""A request becomes pins with hashes: OS packages of an archive, wheels of an index, an interpreter."""
