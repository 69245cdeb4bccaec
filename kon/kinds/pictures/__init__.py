"""What is known of image files before and around their decoding: headers read by hand, bounds, threads.

It knows nothing of kinds nor of videos; both stand on it. It needs Pillow.
"""
