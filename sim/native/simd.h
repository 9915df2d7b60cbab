// What the compiled kernels share: hints for the compiler, each of which may be ignored without changing a result.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// The library is built for the processors of all machines of an architecture, never for that of the machine it is built
// on. On x86 the hot loops are compiled three times, and the best that the processor has is taken when it runs:
// FOR_EACH_LEVEL(DO, ...) writes DO(suffix, attribute, ...) for each, `level()` says which one. The environment variable
// CONNECTOFIT_CPU_LEVEL (base, avx2 or avx512) asks for a lower one, for tests, and for equal digits on unequal machines.
#if defined(__x86_64__) && defined(__GNUC__)
#define AVX2 __attribute__((target("avx2,fma,bmi,bmi2")))
#define AVX512 \
  __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,bmi,bmi2,prefer-vector-width=512")))
#define FOR_EACH_LEVEL(DO, ...) DO(base, , __VA_ARGS__) DO(avx2, AVX2, __VA_ARGS__) DO(avx512, AVX512, __VA_ARGS__)
#define LEVELS(name) {name##_base, name##_avx2, name##_avx512}
static inline int level() {
  static const int found = [] {
    const char* asked = std::getenv("CONNECTOFIT_CPU_LEVEL");
    if (asked != nullptr && std::strcmp(asked, "base") == 0) return 0;
    const bool narrow = asked != nullptr && std::strcmp(asked, "avx2") == 0;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return wide && !narrow ? 2 : 1;
  }();
  return found;
}
#else
#define FOR_EACH_LEVEL(DO, ...) DO(base, , __VA_ARGS__)
#define LEVELS(name) {name##_base}
static inline int level() { return 0; }
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INLINE static inline
#define PREFETCH(address)
#endif

// Needs -fopenmp-simd; without it these are ordinary loops.
#define PRAGMA(text) _Pragma(#text)
#define SUM_IN_ANY_ORDER(total) PRAGMA(omp simd reduction(+ : total))
#define INDEPENDENT PRAGMA(omp simd)

template <typename T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = uint32_t;
};
template <>
struct BitsOf<double> {
  using type = uint64_t;
};
template <typename T>
using Bits = typename BitsOf<T>::type;
template <typename T>
using Signed = std::make_signed_t<Bits<T>>;

// Numbers too small for full precision count as 0 while this lives, as in XLA: they are a hundred times slower.
class FlushToZero {
 public:
#if defined(__SSE__)
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  unsigned int before_;
#elif defined(__aarch64__)
  FlushToZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
  }
  ~FlushToZero() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  uint64_t before_;
#else
  FlushToZero() {}
#endif
};
