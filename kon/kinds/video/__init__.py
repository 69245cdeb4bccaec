"""Videos from links: images are fetched, decoded, letterboxed, encoded and stored.

It knows nothing of queues, nor of kinds; `kon.kinds.animoto` makes a kind of it. All but `film` and
`jobfile` need the extra `animoto`: aiohttp, PyAV and Pillow.
"""
