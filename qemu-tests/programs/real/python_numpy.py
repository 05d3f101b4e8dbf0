"""Linear algebra with the library's own threads, on numbers whose results are exact."""

import os

import numpy

SCALE = int(os.environ["SCALE"])
SIZE = 300

chance = numpy.random.default_rng(7)
matrix = chance.integers(0, 3, (SIZE, SIZE)).astype(numpy.float64)
for turn in range(4 * SCALE):
    product = matrix @ matrix.T
    matrix = (product % 3).astype(numpy.float64)
    print(turn, int(product.sum()), int(product.trace()), int(product.max()))
numbers = chance.integers(0, 1 << 40, 200_000 * SCALE)
numbers.sort()
print(int(numbers[::1000].sum()), int(numpy.bincount(numbers % 97).max()))
signal = numpy.fft.rfft(numpy.arange(1 << 16, dtype=numpy.float64))
print(numpy.round(abs(signal[1:5]), 3))
numpy.save("numbers.npy", numbers[:5000])
print(int(numpy.load("numbers.npy", mmap_mode="r").sum()))
