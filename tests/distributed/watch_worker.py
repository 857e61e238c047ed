"""A rank of test_watch.py: keeps watch, without MXNet or Horovod, and acts as its argument says.

python watch_worker.py RANK WORLD_SIZE FOLDER ACTION
"""

import json
import os
import sys
import time

from partial_fc.distributed.monitor import IMAGES
from partial_fc.distributed.watch import Watch

rank, world_size, folder, action = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
meeting = os.path.join(folder, "meeting")
watch = Watch()
if rank == 0:
    with open(meeting + ".tmp", "w") as file:
        json.dump(watch.open(world_size, []), file)
    os.rename(meeting + ".tmp", meeting)
while not os.path.exists(meeting):
    time.sleep(0.05)
with open(meeting) as file:
    watch.join(rank, json.load(file))
watch.doing("update 7")
print("joined", flush=True)
sys.stdin.readline()
if action == "recover":
    try:
        with watch.waiting(IMAGES):
            raise ValueError
    except ValueError:
        time.sleep(4)
if action == "progress":
    for number in range(8):
        watch.doing(f"image {number}")
        time.sleep(0.5)
if action == "save":
    with watch.busy("saving update 7", 10):
        with watch.waiting("a message of all ranks"):
            pass
        time.sleep(4)
if action == "wait for progress":
    with watch.waiting("the features of all ranks"):
        time.sleep(4)
if action == "raise":
    raise ValueError("a wrong value")
if action == "raise lines":
    text = 'Traceback (most recent call last):\n  File "../src/a/dot-inl.h", line 12\nMXNetError: Check failed: a: b'
    raise RuntimeError(text)
if action == "break":
    raise ValueError("Horovod has been shut down")
if action == "fail":
    watch.fail("train.rec: record 3 is bad", 2)
if action == "images":
    with watch.waiting(IMAGES):
        time.sleep(60)
if action == "wait":
    with watch.waiting("the labels of all ranks"):
        time.sleep(60)
if action == "busy":
    time.sleep(60)
