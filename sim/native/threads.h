// Work in parts on the threads of XLA's pool. Which thread does which part decides nothing about the result.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "simd.h"
#include "xla/ffi/api/ffi.h"

// Have `part(0)` to `part(parts - 1)` done by the calling thread and those of the pool that are free.
template <typename F>
void share(xla::ffi::ThreadPool& pool, int64_t parts, const F& part) {
  struct Job {
    std::atomic<int64_t> next{0}, done{0};
  };
  const auto job = std::make_shared<Job>();
  const auto work = [job, parts, &part] {
    const FlushToZero flush;
    // A thread that comes too late finds nothing left, and does not touch what may be gone.
    for (int64_t k = job->next.fetch_add(1); k < parts; k = job->next.fetch_add(1)) {
      part(k);
      job->done.fetch_add(1, std::memory_order_release);
    }
  };
  const int64_t threads = std::min(pool.num_threads(), parts);
  for (int64_t k = 1; k < threads; ++k) pool.Schedule(std::function<void()>(work));
  work();
  while (job->done.load(std::memory_order_acquire) < parts) std::this_thread::yield();
}
