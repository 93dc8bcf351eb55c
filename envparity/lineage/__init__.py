"""
Where a model comes from: the repository and the script that trained it, its parameters, its data, the tracker's run.

Each reader gives facts with the field names of `values/lineage.py`, and gaps for what it cannot know. Nothing of a
repository, a data folder or a tracker is run.
"""
