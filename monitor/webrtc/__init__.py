"""WebRTC: calls that come to us (WHIP), and everything that both ends of a session share.

aiortc, aiohttp and PyAV are imported by the modules here that use them, never by importing this package.
"""
