"""Replays searches on recorded or made-up learning curves, on virtual time: nothing is trained."""
