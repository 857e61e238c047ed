"""`partial-fc doctor`: whether this machine, and others, can train, and what to do where they cannot.

`facts` collects what is known of a host; `software` and `hardware` judge it; `hosts` asks other hosts over ssh and
compares them; `launchers` starts ranks that exchange arrays. MXNet and Horovod are imported by child processes only
(`libraries`, `collective`), which may fail in any way without ending the examination.
"""
