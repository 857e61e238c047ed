"""`partial-fc doctor`: whether this machine, and others, can train, and what to do where they cannot.

`facts` is what a host tells about itself; `software`, `gpus` and `storage` judge it, `hosts` asks other hosts by ssh
and compares them, `ranks` starts ranks that exchange arrays. MXNet and Horovod are imported by child processes only
(`libraries`, `collective`), which may fail in any way without ending the examination.
"""
