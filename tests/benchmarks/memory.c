// What memory allows a machine to do, for tests/benchmarks/microcircuit.py: prints the rate of reading in order in GB/s,
// then for every size in bytes that is given the time in ns of adding a number to a float at a random place in so many
// bytes, the places read in order: what delivering a spike through an edge does at the least.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static uint64_t draw(uint64_t* s) {
  *s ^= *s << 13;
  *s ^= *s >> 7;
  *s ^= *s << 17;
  return *s;
}

int main(int argc, char** argv) {
  const int64_t n = 1 << 26;  // numbers read in order: 256 MB of places, 256 MB of weights
  int32_t* place = aligned_alloc(64, 4 * n);
  float* weight = aligned_alloc(64, 4 * n);
  uint64_t seed = 88172645463325252ull;
  for (int64_t e = 0; e < n; ++e) weight[e] = 1.0f;
  double best = 1e9;
  float sums[16] = {0};
  for (int repeat = 0; repeat < 3; ++repeat) {
    const double start = now();
    for (int64_t e = 0; e < n; e += 16)
      for (int k = 0; k < 16; ++k) sums[k] += weight[e + k];
    const double taken = now() - start;
    best = taken < best ? taken : best;
  }
  volatile float keep = sums[0];
  (void)keep;
  printf("%g\n", 4e-9 * n / best);
  for (int k = 1; k < argc; ++k) {
    const uint64_t floats = strtoull(argv[k], NULL, 10) / 4;
    float* line = calloc(floats, 4);
    for (uint64_t i = 0; i < floats; i += 512) line[i] = 1.0f;
    for (int64_t e = 0; e < n; ++e) place[e] = (int32_t)(draw(&seed) % floats);
    best = 1e9;
    for (int repeat = 0; repeat < 3; ++repeat) {
      const double start = now();
      for (int64_t e = 0; e < n; ++e) line[place[e]] += weight[e];
      const double taken = now() - start;
      best = taken < best ? taken : best;
    }
    printf("%g\n", 1e9 * best / n);
    free(line);
  }
  return 0;
}
