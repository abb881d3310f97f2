"""Where moto lacks what AWS does, or does otherwise.

One module per matter, each with `apply()`, called by `serve.py`. What AWS does is taken from its own reference, which
is named beside it. These responses are ours: no emulator made by others has proven them.
"""
