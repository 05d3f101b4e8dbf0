"""Threads that share a queue, locks and conditions; hashing and compressing outside the interpreter lock."""

import hashlib
import os
import queue
import threading
import zlib

SCALE = int(os.environ["SCALE"])
THREADS = 6
BLOCKS = 24 * SCALE

todo = queue.Queue(maxsize=8)
done = {}
done_grown = threading.Condition()
in_turn = threading.Barrier(THREADS)
rounds = []


def work(number):
    for turn in range(3):
        if in_turn.wait() == 0:
            rounds.append(turn)
    while (block := todo.get()) is not None:
        text = (b"%d " % block) * 60_000
        digest = hashlib.sha256(zlib.compress(text, 6)).hexdigest()
        count = sum(byte == 0x31 for byte in text[:40_000])
        with done_grown:
            done[block] = f"{digest[:16]} {count}"
            done_grown.notify_all()


threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
for block in range(BLOCKS):
    todo.put(block)
with done_grown:
    done_grown.wait_for(lambda: len(done) == BLOCKS)
for _ in threads:
    todo.put(None)
for thread in threads:
    thread.join()
for block in sorted(done):
    print(block, done[block])
print("rounds", rounds, "threads left", threading.active_count())
