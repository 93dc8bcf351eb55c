"""The steps of a lock: each takes a snapshot, or what an earlier step found, and says what of it is locked."""
