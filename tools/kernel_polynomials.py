#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The polynomials of src/kernels/body/math.h: interpolation at Chebyshev points in 40 digits, which is within a few percent of minimax.

    python3 tools/kernel_polynomials.py            # needs mpmath; prints coefficients, highest power first
"""
import struct

from mpmath import asin, atan, cos, erf, erfc, exp, floor, log, lu_solve, matrix, mp, mpf, pi, sin, sqrt, tanh

mp.dps = 40


def fit(name, f, a, b, degree):
    n = degree + 1
    points = [(a + b) / 2 + (b - a) / 2 * cos(pi * (k + mpf(1) / 2) / n) for k in range(n)]
    c = lu_solve(matrix(n, n) + matrix([[p**j for j in range(n)] for p in points]), matrix([f(p) for p in points]))
    if not name:
        return c
    print(f"{name:12}", ", ".join(f"{float(c[i]):.9e}" for i in reversed(range(n))))


half = log(2) / 2
fit("exp", lambda r: (exp(r) - 1 - r) / r**2 if r else mpf(1) / 2, -half, half, 5)
fit("exp, near", lambda r: (exp(-r) - 1) / r if r else -mpf(1), -half, half, 5)
fit("log", lambda f: (log(1 + f) - f + f * f / 2) / f**3 if f else mpf(1) / 3, sqrt(mpf(1) / 2) - 1, sqrt(2) - 1, 8)
fit("erf, small", lambda t: erf(sqrt(t)) / sqrt(t) - 1 if t else 2 / sqrt(pi) - 1, mpf(0), mpf("0.57"), 5)
fit("erf, large", lambda x: -log(erfc(x)), mpf("0.74"), mpf(4), 10)
fit("tanh", lambda t: (tanh(sqrt(t)) / sqrt(t) - 1) / t, mpf("1e-12"), mpf("0.4"), 5)
fit("log1p", lambda t: (log((1 + sqrt(t) / 2) / (1 - sqrt(t) / 2)) / sqrt(t) - 1) / t, mpf("1e-9"), mpf(4) / 9, 4)
fit("sin", lambda t: (sin(sqrt(t)) / sqrt(t) - 1) / t, mpf("1e-9"), (pi / 4) ** 2, 3)
fit("cos", lambda t: (cos(sqrt(t)) - 1 + t / 2) / t**2, mpf("1e-6"), (pi / 4) ** 2, 3)
fit("asin", lambda t: (asin(sqrt(t)) / sqrt(t) - 1) / t, mpf("1e-9"), mpf(1) / 4, 5)
fit("atan", lambda u: (atan(sqrt(u + 0.75)) / sqrt(u + 0.75) - 1) / (u + 0.75), mpf("1e-9") - mpf("0.75"), mpf("0.25"), 9)

# erf(x / sqrt(2)) / 2 around the multiples i of 1 / 2.625, by u = 2.625 x - i; from the last on, a half.
pieces = [fit("", lambda u: erf((i + u) / mpf("2.625") / sqrt(2)) / 2, mpf(i > 0) / -2, mpf(1) / 2, 5) for i in range(15)]
for j in reversed(range(6)):
    print(f"gelu, u^{j}   ", ", ".join(f"{float(c[j]):.9g}" for c in pieces), 0 if j else 0.5)

# Pi / 2 in pieces of 24 bits, and 2 / pi as words of 32 bits.
rest = pi / 2
for _ in range(4):
    piece = mpf(struct.unpack("f", struct.pack("f", float(rest)))[0])
    print("pi/2        ", f"{float(piece):.9e}")
    rest -= piece
mp.prec = 400
print("2/pi        ", ", ".join(f"0x{int(floor(2 / pi * mpf(2) ** (32 * (k + 1)))) & 0xFFFFFFFF:08x}" for k in range(7)))
