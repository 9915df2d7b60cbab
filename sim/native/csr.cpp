// Sparse products on a CSR graph for the CPU, called by JAX through its foreign function interface.
//
//   push(x, w)_j  = sum over edges e with post(e) = j of  w_e x_pre(e)
//   pull(g, w)_i  = sum over edges e with pre(e) = i of   w_e g_post(e)
//   outer(x, g)_e = x_pre(e) g_post(e), summed over the rows of a group
//
// Arguments carry a leading batch axis: x is [b, n_pre], g [b, n_post], w [c, e] with b = c r; row i of a batch uses
// weights i / r. The maps, and what they are for, are those of sim/csr_primitives.py. All run on one thread: a second
// one makes these products slower, since they wait for memory.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

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

template <typename T>
INLINE void pull_row(const T* values, const T* w, const Graph& g, T* y) {
  for (int64_t i = 0; i < g.n_pre; ++i) {
    const int64_t start = g.indptr[i], stop = g.indptr[i + 1];
    T total = 0;
    SUM_IN_ANY_ORDER(total)
    for (int64_t e = start; e < stop; ++e) total += w[e] * values[g.post[e]];
    y[i] = total;
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
  TARGET void pull_##T##_##LEVEL(const T* values, const T* w, const Graph& g, T* y) { pull_row(values, w, g, y); } \
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
  for (int64_t r = 0; r < b; ++r)
    pull_of(values.typed_data() + r * g.n_post, w.typed_data() + r / (b / c) * g.n_edges, g,
            y->typed_data() + r * g.n_pre);
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error outer(Table<kType> x, Table<kType> values, Rows indptr, Posts post, ffi::ResultBuffer<kType, 2> out) {
  using T = ffi::NativeType<kType>;
  const int64_t b = x.dimensions()[0], c = out->dimensions()[0];
  const Graph g{indptr.typed_data(), post.typed_data(), static_cast<int64_t>(x.dimensions()[1]),
                static_cast<int64_t>(values.dimensions()[1]), static_cast<int64_t>(out->dimensions()[1])};
  if (const std::string wrong = misfit(indptr, post, g.n_pre); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  const auto found = std::make_unique<int32_t[]>(g.n_pre + 1);
  std::memset(out->typed_data(), 0, sizeof(T) * c * g.n_edges);
  for (int64_t r = 0; r < b; ++r)
    outer_of(x.typed_data() + r * g.n_pre, values.typed_data() + r * g.n_post, g, found.get(),
             out->typed_data() + r / (b / c) * g.n_edges);
  return ffi::Error::Success();
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
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_outer_f32, outer<ffi::F32>, signature<ffi::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_outer_f64, outer<ffi::F64>, signature<ffi::F64>());
