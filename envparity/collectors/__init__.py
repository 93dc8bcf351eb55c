"""
Turn a place into facts: plain dicts with the field names of the Environment's sections.

Standard library only, Python 3.8 and newer, and nothing of envparity but each other: the same source is streamed to
another interpreter and runs there (`bundle.py`), or is used in this process. Reading judges nothing and runs nothing.
"""
