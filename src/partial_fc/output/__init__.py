"""What people read: terminal, log, closed pipes."""
