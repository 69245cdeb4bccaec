"""Links that come from anywhere: which may be followed, and how what they lead to is fetched."""
