"""Computes with big integers, strings, dictionaries and floating point. Paced."""
import hashlib
import math
import os
import sys

primes, kept, pid = [], {}, os.getpid()
leg = 0
while True:
    print("leg", leg, flush=True)
    for step in range(12):
        candidate = primes[-1] + 2 if primes else 3
        while len(primes) < 150 * (leg * 12 + step + 1):
            if all(candidate % prime for prime in primes if prime * prime <= candidate):
                primes.append(candidate)
            candidate += 2
        digest = hashlib.sha256(str(math.factorial(400 + step + leg)).encode()).hexdigest()
        kept[digest[:6]] = sum(math.sqrt(prime) for prime in primes)
        print("step", step, primes[-1], digest[:16], f"{kept[digest[:6]]:.9f}", flush=True)
    assert os.getpid() == pid, "the pid changed"
    if not os.read(0, 1):
        break
    leg += 1
print("end", len(kept))
sys.exit(3)
