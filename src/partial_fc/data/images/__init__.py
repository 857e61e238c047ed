"""Images, decoded and cut."""
