"""Protocols of face recognition: verification, IJB, MegaFace, IFRT."""
