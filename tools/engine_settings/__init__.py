"""Makes the tables of `inventories/engines/` from the engines' own files.

`python -m tools.engine_settings vllm` fetches the wheels that `vllm.yml` names, checks their digests, lets their own
argument parsers tell which flags they take, and writes the part of the file below `settings:` anew. What stands above
that line is kept by hand. Nothing of the engines is installed: their Python files are unpacked into a cache.
"""
