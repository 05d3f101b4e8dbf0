"""A pool of processes, a queue, shared memory and a lock between processes."""

import multiprocessing
import os

SCALE = int(os.environ["SCALE"])


def primes_below(limit):
    return sum(all(number % divisor for divisor in range(2, int(number**0.5) + 1)) for number in range(2, limit))


def count(total, lock, answers, number):
    for _ in range(200):
        with lock:
            total.value += number
    answers.put(number)


if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        print(pool.map(primes_below, [4000 + 500 * number for number in range(3 * SCALE)]))
    total = multiprocessing.Value("q", 0, lock=False)
    lock = multiprocessing.Lock()
    answers = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=count, args=(total, lock, answers, number)) for number in range(1, 5)]
    for worker in workers:
        worker.start()
    print(sorted(answers.get() for _ in workers))
    for worker in workers:
        worker.join()
    print(total.value, [worker.exitcode for worker in workers])
