// Sparse products on a CSR graph for the CPU, called by JAX through its foreign function interface.
//
//   push(x, w)_j  = sum over edges e with post(e) = j of  w_e x_pre(e)
//   pull(g, w)_i  = sum over edges e with pre(e) = i of   w_e g_post(e)
//   outer(a, x, g)_e = a_e + x_pre(e) g_post(e), summed over the rows of a group; in place where a is not needed again
//
// Arguments carry a leading batch axis: x is [b, n_pre], g [b, n_post], w and a [c, e] with b = c r; row i of a batch
// uses weights i / r. The maps, and what they are for, are those of sim/csr_primitives.py. All run on one thread: a second
// one makes these products slower, since they wait for memory.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "simd.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// The indices of the values that are not 0. Most are 0, so that runs of them are passed over many at a time.
template <typename T>
INLINE int64_t active(const T* x, int64_t n, int32_t* found) {
  using Bits = typename BitsOf<T>::type;
  constexpr int64_t kRun = 64;
  int64_t k = 0, i = 0;
  Bits bits[kRun];
  for (; i + kRun <= n; i += kRun) {
    std::memcpy(bits, x + i, sizeof bits);
    Bits any = 0;
    for (int64_t j = 0; j < kRun; ++j) any |= bits[j];
    if ((any << 1) == 0) continue;  // the sign of a zero does not count
    for (int64_t j = i; j < i + kRun; ++j) {
      found[k] = static_cast<int32_t>(j);
      k += x[j] != 0;
    }
  }
  for (; i < n; ++i) {
    found[k] = static_cast<int32_t>(i);
    k += x[i] != 0;
  }
  return k;
}

// Ask for the beginning of a row that comes soon: rows of rare spikes are cold.
template <typename T>
INLINE void prefetch_row(const int32_t* post, const T* w, int64_t start) {
  for (int64_t line = 0; line < 4; ++line) {
    PREFETCH(post + start + 16 * line);
    PREFETCH(w + start + 16 * line);
  }
}

struct Graph {
  const int32_t* indptr;
  const int32_t* post;
  int64_t n_pre, n_post, n_edges;
};

template <typename T>
INLINE void push_row(const T* x, const T* w, const Graph& g, int32_t* found, T* y) {
  const int64_t n = active(x, g.n_pre, found);
  for (int64_t a = 0; a < n; ++a) {
    if (a + 2 < n) prefetch_row(g.post, w, g.indptr[found[a + 2]]);
    const T x_i = x[found[a]];
    const int64_t stop = g.indptr[found[a] + 1];
    for (int64_t e = g.indptr[found[a]]; e < stop; ++e) y[g.post[e]] += w[e] * x_i;
  }
}

// The sum over the n edges of a row of w_e values_post(e). GCC makes no gathers for this loop, so they are written out.
// The edges come from the third cache or from memory: some of them are asked for ahead.
constexpr int64_t kAhead = 256;

template <typename T>
INLINE T row_sum_base(const T* values, const T* w, const int32_t* post, int64_t n) {
  T sums[8] = {};
  int64_t e = 0;
  for (; e + 8 <= n; e += 8)
    for (int64_t k = 0; k < 8; ++k) sums[k] += w[e + k] * values[post[e + k]];
  for (; e < n; ++e) sums[0] += w[e] * values[post[e]];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12 about its own headers
AVX2 INLINE float row_sum_avx2(const float* values, const float* w, const int32_t* post, int64_t n) {
  __m256 a = _mm256_setzero_ps(), b = a;
  int64_t e = 0;
  for (; e + 16 <= n; e += 16) {
    PREFETCH(post + e + kAhead);
    PREFETCH(w + e + kAhead);
    const auto* at = reinterpret_cast<const __m256i*>(post + e);
    a = _mm256_fmadd_ps(_mm256_i32gather_ps(values, _mm256_loadu_si256(at), 4), _mm256_loadu_ps(w + e), a);
    b = _mm256_fmadd_ps(_mm256_i32gather_ps(values, _mm256_loadu_si256(at + 1), 4), _mm256_loadu_ps(w + e + 8), b);
  }
  alignas(32) float sums[8];
  _mm256_store_ps(sums, _mm256_add_ps(a, b));
  for (; e < n; ++e) sums[0] += w[e] * values[post[e]];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

AVX2 INLINE double row_sum_avx2(const double* values, const double* w, const int32_t* post, int64_t n) {
  __m256d a = _mm256_setzero_pd(), b = a;
  int64_t e = 0;
  for (; e + 8 <= n; e += 8) {
    PREFETCH(post + e + kAhead);
    PREFETCH(w + e + kAhead);
    const auto* at = reinterpret_cast<const __m128i*>(post + e);
    a = _mm256_fmadd_pd(_mm256_i32gather_pd(values, _mm_loadu_si128(at), 8), _mm256_loadu_pd(w + e), a);
    b = _mm256_fmadd_pd(_mm256_i32gather_pd(values, _mm_loadu_si128(at + 1), 8), _mm256_loadu_pd(w + e + 4), b);
  }
  alignas(32) double sums[4];
  _mm256_store_pd(sums, _mm256_add_pd(a, b));
  for (; e < n; ++e) sums[0] += w[e] * values[post[e]];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

AVX512 INLINE float row_sum_avx512(const float* values, const float* w, const int32_t* post, int64_t n) {
  __m512 a = _mm512_setzero_ps(), b = a;
  int64_t e = 0;
  for (; e + 16 <= n; e += 16) {
    PREFETCH(post + e + kAhead);
    PREFETCH(w + e + kAhead);
    std::swap(a, b);
    a = _mm512_fmadd_ps(_mm512_i32gather_ps(_mm512_loadu_si512(post + e), values, 4), _mm512_loadu_ps(w + e), a);
  }
  if (e < n) {
    const auto rest = static_cast<__mmask16>((1u << (n - e)) - 1);
    const __m512 found = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), rest, _mm512_maskz_loadu_epi32(rest, post + e), values, 4);
    b = _mm512_fmadd_ps(found, _mm512_maskz_loadu_ps(rest, w + e), b);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}

AVX512 INLINE double row_sum_avx512(const double* values, const double* w, const int32_t* post, int64_t n) {
  __m512d a = _mm512_setzero_pd(), b = a;
  int64_t e = 0;
  for (; e + 8 <= n; e += 8) {
    PREFETCH(post + e + kAhead);
    PREFETCH(w + e + kAhead);
    std::swap(a, b);
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(post + e));
    a = _mm512_fmadd_pd(_mm512_i32gather_pd(at, values, 8), _mm512_loadu_pd(w + e), a);
  }
  if (e < n) {
    const auto rest = static_cast<__mmask8>((1u << (n - e)) - 1);
    const __m512d found = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), rest, _mm256_maskz_loadu_epi32(rest, post + e), values, 8);
    b = _mm512_fmadd_pd(found, _mm512_maskz_loadu_pd(rest, w + e), b);
  }
  return _mm512_reduce_add_pd(_mm512_add_pd(a, b));
}
#endif

// Several rows of values with the same weights: [n_post, kLanes], so that an edge reads one line for all of them.
template <typename T>
constexpr int64_t kLanes = 64 / sizeof(T);

template <typename T>
INLINE void pull_lanes(const T* table, const T* w, const Graph& g, T* y) {
#if defined(__GNUC__)
  typedef T Line __attribute__((vector_size(64)));
  const Line* lines = reinterpret_cast<const Line*>(table);
#else
  struct Line {
    T at[kLanes<T>];
    Line& operator+=(const Line& other) {
      for (int64_t k = 0; k < kLanes<T>; ++k) at[k] += other.at[k];
      return *this;
    }
    friend Line operator*(T a, const Line& b) {
      Line out = b;
      for (int64_t k = 0; k < kLanes<T>; ++k) out.at[k] *= a;
      return out;
    }
  };
  const Line* lines = reinterpret_cast<const Line*>(table);
#endif
  Line* out = reinterpret_cast<Line*>(y);
  for (int64_t i = 0; i < g.n_pre; ++i) {
    int64_t e = g.indptr[i];
    const int64_t stop = g.indptr[i + 1];
    Line a = {}, b = {}, c = {}, d = {};
    for (; e + 4 <= stop; e += 4) {
      a += w[e] * lines[g.post[e]];
      b += w[e + 1] * lines[g.post[e + 1]];
      c += w[e + 2] * lines[g.post[e + 2]];
      d += w[e + 3] * lines[g.post[e + 3]];
    }
    for (; e < stop; ++e) a += w[e] * lines[g.post[e]];
    a += b;
    c += d;
    a += c;
    out[i] = a;
  }
}

template <typename T>
INLINE void outer_row(const T* x, const T* values, const Graph& g, int32_t* found, T* out) {
  const int64_t n = active(x, g.n_pre, found);
  for (int64_t a = 0; a < n; ++a) {
    const T x_i = x[found[a]];
    const int64_t stop = g.indptr[found[a] + 1];
    INDEPENDENT
    for (int64_t e = g.indptr[found[a]]; e < stop; ++e) out[e] += x_i * values[g.post[e]];
  }
}

// One body for each type and level of the processor: see simd.h.
#define BODIES_AT(LEVEL, TARGET, T)                                                                                \
  TARGET void push_##T##_##LEVEL(const T* x, const T* w, const Graph& g, int32_t* found, T* y) {                   \
    push_row(x, w, g, found, y);                                                                                   \
  }                                                                                                                \
  TARGET void pull_##T##_##LEVEL(const T* values, const T* w, const Graph& g, T* y) {                              \
    for (int64_t i = 0; i < g.n_pre; ++i)                                                                          \
      y[i] = row_sum_##LEVEL(values, w + g.indptr[i], g.post + g.indptr[i], g.indptr[i + 1] - g.indptr[i]);        \
  }                                                                                                                \
  TARGET void lanes_##T##_##LEVEL(const T* table, const T* w, const Graph& g, T* y) { pull_lanes(table, w, g, y); } \
  TARGET void outer_##T##_##LEVEL(const T* x, const T* values, const Graph& g, int32_t* found, T* out) {           \
    outer_row(x, values, g, found, out);                                                                           \
  }
#define BODIES(T)                                                                                                  \
  FOR_EACH_LEVEL(BODIES_AT, T)                                                                                     \
  void push_of(const T* x, const T* w, const Graph& g, int32_t* found, T* y) {                                     \
    static constexpr void (*kAll[])(const T*, const T*, const Graph&, int32_t*, T*) = LEVELS(push_##T);            \
    kAll[level()](x, w, g, found, y);                                                                              \
  }                                                                                                                \
  void pull_of(const T* values, const T* w, const Graph& g, T* y) {                                                \
    static constexpr void (*kAll[])(const T*, const T*, const Graph&, T*) = LEVELS(pull_##T);                      \
    kAll[level()](values, w, g, y);                                                                                \
  }                                                                                                                \
  void lanes_of(const T* table, const T* w, const Graph& g, T* y) {                                                \
    static constexpr void (*kAll[])(const T*, const T*, const Graph&, T*) = LEVELS(lanes_##T);                     \
    kAll[level()](table, w, g, y);                                                                                 \
  }                                                                                                                \
  void outer_of(const T* x, const T* values, const Graph& g, int32_t* found, T* out) {                             \
    static constexpr void (*kAll[])(const T*, const T*, const Graph&, int32_t*, T*) = LEVELS(outer_##T);           \
    kAll[level()](x, values, g, found, out);                                                                       \
  }
BODIES(float)
BODIES(double)

using Rows = ffi::Buffer<ffi::S32, 1>;
using Posts = ffi::Buffer<ffi::S32, 1>;
template <ffi::DataType kType>
using Table = ffi::Buffer<kType, 2>;

// What is wrong with the shapes, or nothing. A row that reaches beyond the edges would read what is not there.
std::string misfit(const Rows& indptr, const Posts& post, int64_t n_pre) {
  const int64_t rows = static_cast<int64_t>(indptr.element_count()) - 1;
  if (rows != n_pre) return "indptr has " + std::to_string(rows) + " rows for " + std::to_string(n_pre) + " neurons";
  if (rows >= 0 && indptr.typed_data()[rows] > static_cast<int64_t>(post.element_count()))
    return "indptr ends beyond the edges";
  return "";
}

ffi::Error invalid(const std::string& what) { return ffi::Error::InvalidArgument("connectofit: " + what); }

template <ffi::DataType kType>
ffi::Error push(Table<kType> x, Table<kType> w, Rows indptr, Posts post, ffi::ResultBuffer<kType, 2> y) {
  using T = ffi::NativeType<kType>;
  const int64_t b = x.dimensions()[0], c = w.dimensions()[0];
  const Graph g{indptr.typed_data(), post.typed_data(), static_cast<int64_t>(x.dimensions()[1]),
                static_cast<int64_t>(y->dimensions()[1]), static_cast<int64_t>(w.dimensions()[1])};
  if (const std::string wrong = misfit(indptr, post, g.n_pre); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  const auto found = std::make_unique<int32_t[]>(g.n_pre + 1);
  std::memset(y->typed_data(), 0, sizeof(T) * b * g.n_post);
  for (int64_t r = 0; r < b; ++r)
    push_of(x.typed_data() + r * g.n_pre, w.typed_data() + r / (b / c) * g.n_edges, g, found.get(),
            y->typed_data() + r * g.n_post);
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error pull(Table<kType> values, Table<kType> w, Rows indptr, Posts post, ffi::ResultBuffer<kType, 2> y) {
  const int64_t b = values.dimensions()[0], c = w.dimensions()[0];
  const Graph g{indptr.typed_data(), post.typed_data(), static_cast<int64_t>(y->dimensions()[1]),
                static_cast<int64_t>(values.dimensions()[1]), static_cast<int64_t>(w.dimensions()[1])};
  if (const std::string wrong = misfit(indptr, post, g.n_pre); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  using T = ffi::NativeType<kType>;
  constexpr int64_t kWide = kLanes<T>, kFew = 3;  // up to so many rows are faster one by one
  std::unique_ptr<T[], void (*)(T*)> table(nullptr, [](T* p) { ::operator delete(p, std::align_val_t{64}); });
  const int64_t rows = c ? b / c : 0;
  for (int64_t first = 0; first < b;) {
    const T* from = values.typed_data() + first * g.n_post;
    const T* weights = w.typed_data() + first / rows * g.n_edges;
    T* to = y->typed_data() + first * g.n_pre;
    const int64_t width = std::min(kWide, rows - first % rows);
    if (width <= kFew) {
      pull_of(from, weights, g, to);
      ++first;
      continue;
    }
    const int64_t half = kWide * g.n_post;
    if (!table) table.reset(static_cast<T*>(::operator new(sizeof(T) * kWide * (g.n_post + g.n_pre), std::align_val_t{64})));
    for (int64_t j = 0; j < g.n_post; ++j)
      for (int64_t k = 0; k < kWide; ++k) table[j * kWide + k] = k < width ? from[k * g.n_post + j] : 0;
    lanes_of(table.get(), weights, g, table.get() + half);
    for (int64_t k = 0; k < width; ++k)
      for (int64_t i = 0; i < g.n_pre; ++i) to[k * g.n_pre + i] = table[half + i * kWide + k];
    first += width;
  }
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error outer(Table<kType> a, Table<kType> x, Table<kType> values, Rows indptr, Posts post,
                 ffi::ResultBuffer<kType, 2> out) {
  const int64_t b = x.dimensions()[0], c = out->dimensions()[0];
  const Graph g{indptr.typed_data(), post.typed_data(), static_cast<int64_t>(x.dimensions()[1]),
                static_cast<int64_t>(values.dimensions()[1]), static_cast<int64_t>(out->dimensions()[1])};
  if (const std::string wrong = misfit(indptr, post, g.n_pre); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  const auto found = std::make_unique<int32_t[]>(g.n_pre + 1);
  if (a.typed_data() != out->typed_data()) std::memcpy(out->typed_data(), a.typed_data(), a.size_bytes());
  for (int64_t r = 0; r < b; ++r)
    outer_of(x.typed_data() + r * g.n_pre, values.typed_data() + r * g.n_post, g, found.get(),
             out->typed_data() + r / (b / c) * g.n_edges);
  return ffi::Error::Success();
}

template <ffi::DataType kType>
auto accumulating() {
  return ffi::Ffi::Bind()
      .Arg<Table<kType>>()
      .template Arg<Table<kType>>()
      .template Arg<Table<kType>>()
      .template Arg<Rows>()
      .template Arg<Posts>()
      .template Ret<Table<kType>>();
}

template <ffi::DataType kType>
auto signature() {
  return ffi::Ffi::Bind()
      .Arg<Table<kType>>()
      .template Arg<Table<kType>>()
      .template Arg<Rows>()
      .template Arg<Posts>()
      .template Ret<Table<kType>>();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_push_f32, push<ffi::F32>, signature<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_push_f64, push<ffi::F64>, signature<ffi::F64>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_pull_f32, pull<ffi::F32>, signature<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_pull_f64, pull<ffi::F64>, signature<ffi::F64>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_outer_f32, outer<ffi::F32>, accumulating<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_outer_f64, outer<ffi::F64>, accumulating<ffi::F64>());
