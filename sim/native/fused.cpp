// Many steps of a network of integrate-and-fire neurons in one call, without gradients.
//
// sim/fused.py works out the coefficients and says which networks qualify; the equations are those of
// sim/neurons/lif.py and sim/neurons/glif.py with the synapses of sim/synapses (exponential currents, exponential
// conductances, delta). For every step of dt
//
//   currents:      V' = base + (V - base) decay + sum_s gain_s y_s + jumps
//   conductances:  leak = 1 + sum_s gain_s y_s,  inf = (base + sum_s pull_s y_s) / leak
//                  V' = inf + (V - inf) exp(rate leak) + jumps
//   V = reset while the neuron rests; spike where V' >= theta, then V' = reset, for `period` steps
//   y_s' = y_s fade_s + arriving_s                                 0 while it rests, where spikes clear the synapses
//
// and of the generalised ones as `step_generalised` has it.
//
// Time runs in blocks of the shortest delay. Within a block nothing that is sent can arrive, so that neurons are
// independent of each other: a few vectors of them take all steps of the block while their state is in registers. Then
// the spikes of the block are delivered to the rows of the delay lines that will be read at their arrival. Lines lie in
// chunks of neurons, [chunk, row, neuron of the chunk]; a row of a chunk to which nothing has come is not read.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "simd.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kChunk = 64;
constexpr int64_t kMostRanges = 8, kFewestChunks = 32;  // that a population is cut into for threads, and in each
constexpr int64_t kWorthSharing = 1000;                 // chunks and steps, each some 20 ns or more
constexpr int64_t kInRegisters = 2;  // exponential wires onto a population whose state stays in registers
enum PopulationKind { kSource = 0, kLeaky = 1, kGeneralised = 2 };
enum WireKind { kDelta = 0, kCurrent = 1, kConductance = 2 };

// An array of zeros that begins at a cache line, in large pages where it is large. Arrays begin at different places
// within a page: a load waits for a store whose address has the same last twelve bits.
template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t n) {
    constexpr size_t kLine = 64, kPage = size_t{1} << 21;
    const size_t bytes = sizeof(T) * static_cast<size_t>(n);
    const size_t border = bytes >= 2 * kPage ? kPage : kLine;
    static thread_local size_t turn = 0;
    const size_t shift = kLine * (turn++ * 5 % 61);
    raw_.reset(new char[bytes + border + shift]);
    const size_t over = reinterpret_cast<uintptr_t>(raw_.get()) % border;
    data_ = reinterpret_cast<T*>(raw_.get() + (border - over) + shift);
#if defined(__linux__)
    if (border == kPage) madvise(raw_.get() + (border - over), bytes / kPage * kPage, MADV_HUGEPAGE);
#endif
    std::memset(static_cast<void*>(data_), 0, bytes);
  }
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  std::unique_ptr<char[]> raw_;
  T* data_ = nullptr;
};

struct Walk {
  int32_t next, stop;  // the edge that is delivered next, and the end of the row
};

template <typename T>
struct Wire {
  int64_t pre, post;
  WireKind kind;
  int64_t delay, rows;  // the shortest in steps, and how many rows the line has: the longest
  // gain, fade, pull: padded to whole chunks of postsynaptic neurons.
  Array<T> gain, fade, pull, y, line;
  Array<uint8_t> touched, whole;  // what has come something: [chunk, row], and rows all of whose chunks may have
  const int32_t *indptr, *target;
  const T* weight;
  T scale;
  const void* later;  // how much longer than the shortest delay that of each edge is; none if it is the same for all
  int64_t later_bytes;
  // Spikes whose edges are walked as they fall due, by the row in which the first can arrive; see `deliver_due`.
  bool walked = false;
  std::vector<std::vector<Walk>> walks;
  Array<T> due;  // what arrives in one row: small enough for the second cache, where the whole line is not
  int64_t head = 0;  // the row that is read next
  std::vector<int64_t> row;  // that each step of the block reads
  int64_t n_post, n_chunks;

  T* part(int64_t chunk, int64_t row) const { return line.get() + (chunk * rows + row) * kChunk; }
  bool has(int64_t chunk, int64_t row) const { return (touched[chunk * rows + row] | whole[row]) != 0; }
  void taken(int64_t chunk, int64_t row) const { touched[chunk * rows + row] = 0; }
};

// What a spike of a generalised neuron does, and how its variables move: sim/fused.py names and computes them.
enum Coefficient {
  kDecay, kThreshold, kResetOffset, kResetFraction, kResetSource,
  kThetaFade, kThetaKept, kThetaAdd,
  kPulledFade, kPulledSettled, kPulledMoving, kPulledOrigin,
  kFirstGain, kFirstFade, kFirstKept, kFirstAdd, kFirstMean,
  kSecondGain, kSecondFade, kSecondKept, kSecondAdd, kSecondMean,
  kCoefficients
};

// Chunks that one thread runs, and who of them spiked in each step of the block.
struct Range {
  int64_t first, last;
  std::vector<std::vector<int32_t>> fired;
};

template <typename T>
struct Population {
  using I = Signed<T>;

  PopulationKind kind;
  int64_t n, n_chunks;
  const T* given;  // a source's spikes, [steps, n], and nothing else
  const T *held_base, *alive;
  const int32_t* driven;  // neurons, ascending, whose base moves in time by `drive` [steps, n_driven]
  const T* drive;
  int64_t n_driven;
  const int32_t* shown;  // neurons, ascending, whose V is recorded, into `trace` [steps, n_shown]
  T* trace;
  int64_t n_shown;
  // Padded to whole chunks by repeating the last neuron.
  Array<T> v, base, decay, theta, reset;
  Array<I> rest, period;
  Array<T> theta_spike, theta_voltage, first, second;  // of generalised neurons
  Array<T> coefficients[kCoefficients];
  Array<uint8_t> special;  // chunks with neurons that are driven, shown or dead
  bool same;               // all neurons have the same parameters
  bool conductances, clears;
  bool pulls;              // wires have a `pull`: conductances, or currents onto generalised neurons
  int32_t *counts, *ids;  // spikes of each step, and who, as far as there is room
  int64_t room, total;
  std::vector<Wire<T>*> onto, jumps, out;  // onto: all but the delta wires
  std::vector<Range> ranges;
};

// Note the neurons of a mask, which begins with neuron `first`: not those that are dead or only fill the chunk.
template <typename T>
void collect(const Population<T>& p, const Signed<T>* mask, int64_t n, int64_t first, std::vector<int32_t>& found) {
  for (int64_t k = 0; k < n; ++k)
    if (mask[k] != 0 && first + k < p.n && (p.alive == nullptr || p.alive[first + k] > 0))
      found.push_back(static_cast<int32_t>(first + k));
}

// What exp(x) needs of a type: its range, the number that shifts a whole number into the last bits, and log 2 in two
// parts, the first of which has few enough digits that products with whole numbers are exact.
template <typename T>
struct ExpOf;
template <>
struct ExpOf<float> {
  static constexpr float kLowest = -87.3f, kShift = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  static constexpr int kMantissa = 23, kDegree = 7;
};
template <>
struct ExpOf<double> {
  static constexpr double kLowest = -708.3, kShift = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLog2High = 6.93145751953125e-1, kLog2Low = 1.42860682030941723212e-6;
  static constexpr int kMantissa = 52, kDegree = 13;
};

#if defined(__GNUC__)
#define VECTOR_OF(T, bytes) T __attribute__((vector_size(bytes)))
#else
#define VECTOR_OF(T, bytes) T
#endif

#define LEVEL level_base
#define TARGET
#define VECTOR_BYTES 16
#include "neurons.inc"
#if defined(__x86_64__) && defined(__GNUC__)
#undef LEVEL
#undef TARGET
#undef VECTOR_BYTES
#define LEVEL level_avx2
#define TARGET AVX2
#define VECTOR_BYTES 32
#include "neurons.inc"
#undef LEVEL
#undef TARGET
#undef VECTOR_BYTES
#define LEVEL level_avx512
#define TARGET AVX512
#define VECTOR_BYTES 64
#include "neurons.inc"
#endif

// All kinds of neurons and numbers of wires, with one set of parameters and with many, for each type and level.
template <typename T>
using Runner = void (*)(const Population<T>&, Range&, int64_t, int64_t);
#define RUNNER(LEVEL, TARGET, T, NAME, WIRES, OPEN, SAME)                             \
  TARGET void NAME##_##T##_##LEVEL(const Population<T>& p, Range& r, int64_t step, int64_t length) { \
    level_##LEVEL::run_chunks<T, WIRES, OPEN, SAME>(p, r, step, length);                             \
  }
#define RUNNERS(T)                                                              \
  FOR_EACH_LEVEL(RUNNER, T, generalised, -1, false, false)                      \
  FOR_EACH_LEVEL(RUNNER, T, current_0_many, 0, false, false)                    \
  FOR_EACH_LEVEL(RUNNER, T, current_0_same, 0, false, true)                     \
  FOR_EACH_LEVEL(RUNNER, T, current_1_many, 1, false, false)                    \
  FOR_EACH_LEVEL(RUNNER, T, current_1_same, 1, false, true)                     \
  FOR_EACH_LEVEL(RUNNER, T, current_2_many, 2, false, false)                    \
  FOR_EACH_LEVEL(RUNNER, T, current_2_same, 2, false, true)                     \
  FOR_EACH_LEVEL(RUNNER, T, open_1_many, 1, true, false)                        \
  FOR_EACH_LEVEL(RUNNER, T, open_1_same, 1, true, true)                         \
  FOR_EACH_LEVEL(RUNNER, T, open_2_many, 2, true, false)                        \
  FOR_EACH_LEVEL(RUNNER, T, open_2_same, 2, true, true)                         \
  Runner<T> runner_of(const Population<T>& p) {                                 \
    static constexpr Runner<T> kGeneralisedRunner[] = LEVELS(generalised_##T);  \
    static constexpr Runner<T> kRunners[5][2][sizeof(kGeneralisedRunner) / sizeof(Runner<T>)] = { \
        {LEVELS(current_0_many_##T), LEVELS(current_0_same_##T)},               \
        {LEVELS(current_1_many_##T), LEVELS(current_1_same_##T)},               \
        {LEVELS(current_2_many_##T), LEVELS(current_2_same_##T)},               \
        {LEVELS(open_1_many_##T), LEVELS(open_1_same_##T)},                     \
        {LEVELS(open_2_many_##T), LEVELS(open_2_same_##T)}};                    \
    if (p.kind == kGeneralised) return kGeneralisedRunner[level()];             \
    const auto wires = std::min(static_cast<int64_t>(p.onto.size()), kInRegisters); \
    return kRunners[p.conductances ? wires + 2 : wires][p.same][level()];       \
  }
RUNNERS(float)
RUNNERS(double)

// Add the spikes of neurons to the rows where they arrive. Later: the type of `Wire::later`, or void.
template <typename T, typename Later, bool kMark>
void deliver(Wire<T>& w, const std::vector<int32_t>& ids, int64_t q) {
  constexpr bool kEach = !std::is_same_v<Later, void>;
  const uint64_t rows = w.rows, chunk_size = rows * kChunk;
  const uint64_t fixed = (w.head + q + w.delay) % rows;
  T* const line = w.line.get();
  uint8_t* const touched = w.touched.get();
  const int32_t *const indptr = w.indptr, *const targets = w.target;
  const T *const weight = w.weight, scale = w.scale;
  for (size_t a = 0; a < ids.size(); ++a) {
    if (a + 2 < ids.size()) {
      const int64_t next = indptr[ids[a + 2]];
      for (int64_t l = 0; l < 4; ++l) {
        PREFETCH(targets + next + 16 * l);
        PREFETCH(weight + next + 16 * l);
      }
    }
    const int64_t stop = indptr[ids[a] + 1];
    for (int64_t e = indptr[ids[a]]; e < stop; ++e) {
      const auto target = static_cast<uint64_t>(targets[e]), chunk = target / kChunk;
      uint64_t row = fixed;
      if constexpr (kEach) {
        row += static_cast<const Later*>(w.later)[e];
        row = row >= rows ? row - rows : row;  // no edge's delay is longer than there are rows
      }
      line[chunk * chunk_size + row * kChunk + target % kChunk] += weight[e] * scale;
      if constexpr (kMark) touched[chunk * rows + row] = 1;
    }
  }
}

template <typename T>
void deliver(Wire<T>& w, const std::vector<int32_t>& ids, int64_t q) {
  int64_t events = 0;
  for (const int32_t i : ids) events += w.indptr[i + 1] - w.indptr[i];
  if (events == 0) return;
  // Where about every chunk gets something, whole rows are marked rather than chunks.
  const bool mark = events < w.n_chunks * (w.later == nullptr ? 1 : w.rows - w.delay + 1);
  if (!mark)
    for (int64_t later = 0; later <= (w.later == nullptr ? 0 : w.rows - w.delay); ++later)
      w.whole[(w.head + q + w.delay + later) % w.rows] = 1;
  const auto go = [&](auto* type) {
    using Later = std::remove_pointer_t<decltype(type)>;
    mark ? deliver<T, Later, true>(w, ids, q) : deliver<T, Later, false>(w, ids, q);
  };
  if (w.later == nullptr)
    go(static_cast<void*>(nullptr));
  else if (w.later_bytes == 1)
    go(static_cast<uint8_t*>(nullptr));
  else
    go(static_cast<uint16_t*>(nullptr));
}

// Edges in each row ascend by delay: then a spike can be walked along its row as its edges fall due, and all that is
// delivered at once goes to one row of the line.
template <typename Later>
bool ascends(const int32_t* indptr, int64_t n, const Later* later) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t e = indptr[i] + 1; e < indptr[i + 1]; ++e)
      if (later[e] < later[e - 1]) return false;
  return true;
}

template <typename T>
void choose_walk(Wire<T>& w, int64_t n_pre) {
  constexpr int64_t kSecondCache = int64_t{1} << 20;
  const int64_t span = w.rows - w.delay + 1, edges = w.indptr[n_pre];
  if (w.later == nullptr || static_cast<int64_t>(sizeof(T)) * span * w.n_post < kSecondCache || edges < 8 * span * n_pre) return;
  w.walked = w.later_bytes == 1 ? ascends(w.indptr, n_pre, static_cast<const uint8_t*>(w.later))
                                : ascends(w.indptr, n_pre, static_cast<const uint16_t*>(w.later));
  if (!w.walked) return;
  w.walks.resize(w.rows);
  w.due = Array<T>(w.n_chunks * kChunk);
}

// Deliver what arrives in a row, before it is read.
template <typename T, typename Later>
void deliver_due(Wire<T>& w, int64_t row) {
  const Later* const later_of = static_cast<const Later*>(w.later);
  T* const due = w.due.get();
  bool any = false;
  for (int64_t later = 0; later <= w.rows - w.delay; ++later) {
    std::vector<Walk>& walks = w.walks[(row - later + w.rows) % w.rows];
    const Later now = static_cast<Later>(later);
    for (size_t a = 0; a < walks.size(); ++a) {
      if (a + 4 < walks.size()) {
        const int64_t next = walks[a + 4].next;
        for (int64_t l = 0; l < 4; ++l) {
          PREFETCH(w.target + next + 16 * l);
          PREFETCH(w.weight + next + 16 * l);
        }
        PREFETCH(later_of + next);
        PREFETCH(later_of + next + 64);
      }
      int64_t e = walks[a].next;
      const int64_t stop = walks[a].stop;
      for (; e < stop && later_of[e] == now; ++e) due[w.target[e]] += w.weight[e];
      any |= e != walks[a].next;
      walks[a].next = static_cast<int32_t>(e);
    }
  }
  if (!any) return;
  w.whole[row] = 1;
  for (int64_t chunk = 0; chunk < w.n_chunks; ++chunk) {
    T* to = w.part(chunk, row);
    T* from = due + chunk * kChunk;
    for (int64_t i = 0; i < kChunk; ++i) {
      to[i] += from[i] * w.scale;
      from[i] = 0;
    }
  }
}

// Deliver all that is still under way into the rows where it will arrive.
template <typename T, typename Later>
void deliver_rest(Wire<T>& w) {
  const Later* const later_of = static_cast<const Later*>(w.later);
  for (int64_t first = 0; first < w.rows; ++first)
    for (Walk& walk : w.walks[first])
      for (int64_t e = walk.next; e < walk.stop; ++e) {
        const int64_t target = w.target[e];
        w.part(target / kChunk, (first + later_of[e]) % w.rows)[target % kChunk] += w.weight[e] * w.scale;
      }
}

template <typename T>
void run_block(ffi::ThreadPool& pool, Population<T>& p, int64_t step, int64_t length) {
  for (Range& r : p.ranges)
    for (int64_t q = 0; q < length; ++q) r.fired[q].clear();
  if (p.kind == kSource) {
    for (int64_t q = 0; q < length; ++q)
      for (int64_t i = 0; i < p.n; ++i)
        if (p.given[(step + q) * p.n + i] != 0) p.ranges[0].fired[q].push_back(static_cast<int32_t>(i));
  } else {
    const Runner<T> runner = runner_of(p);
    const auto part = [&](int64_t k) { runner(p, p.ranges[k], step, length); };
    const auto parts = static_cast<int64_t>(p.ranges.size());
    if (p.n_chunks * length >= kWorthSharing) {
      share(pool, parts, part);
    } else {
      for (int64_t k = 0; k < parts; ++k) part(k);
    }
  }
  for (int64_t q = 0; q < length; ++q) {
    int32_t count = 0;
    for (const Range& r : p.ranges) {
      count += static_cast<int32_t>(r.fired[q].size());
      for (const int32_t i : r.fired[q]) {
        if (p.total < p.room) p.ids[p.total] = i;
        ++p.total;
      }
    }
    p.counts[step + q] = count;
  }
}

template <typename T>
void run(ffi::ThreadPool& pool, std::vector<Population<T>>& populations, std::vector<Wire<T>>& wires, int64_t n_steps,
         int64_t block) {
  for (int64_t step = 0; step < n_steps; step += block) {
    const int64_t length = std::min(block, n_steps - step);
    for (Wire<T>& w : wires)
      for (int64_t q = 0; q < length; ++q) {
        w.row[q] = (w.head + q) % w.rows;
        if (w.walked) w.later_bytes == 1 ? deliver_due<T, uint8_t>(w, w.row[q]) : deliver_due<T, uint16_t>(w, w.row[q]);
      }
    for (Population<T>& p : populations) run_block(pool, p, step, length);
    for (Wire<T>& w : wires) {
      for (int64_t q = 0; q < length; ++q) w.whole[w.row[q]] = 0;
      for (int64_t q = 0; q < length; ++q) {
        if (w.walked) w.walks[(w.head + q + w.delay) % w.rows].clear();
        for (const Range& r : populations[w.pre].ranges) {
          if (!w.walked) deliver(w, r.fired[q], q);
          else
            for (const int32_t i : r.fired[q])
              w.walks[(w.head + q + w.delay) % w.rows].push_back({w.indptr[i], w.indptr[i + 1]});
        }
      }
      w.head = (w.head + length) % w.rows;
    }
  }
  for (Wire<T>& w : wires)
    if (w.walked) w.later_bytes == 1 ? deliver_rest<T, uint8_t>(w) : deliver_rest<T, uint16_t>(w);
}

ffi::Error invalid(const std::string& what) { return ffi::Error::InvalidArgument("connectofit: " + what); }

// Takes buffers off the list of arguments or results, one after the other.
template <typename Buffers>
class Take {
 public:
  explicit Take(Buffers& buffers) : buffers_(buffers) {}

  ffi::AnyBuffer next() {
    if constexpr (std::is_same_v<Buffers, ffi::RemainingArgs>)
      return *buffers_.template get<ffi::AnyBuffer>(at_++);
    else
      return **buffers_.template get<ffi::AnyBuffer>(at_++);
  }
  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(next().untyped_data());
  }

 private:
  Buffers& buffers_;
  size_t at_ = 0;
};

// A copy that is as long as whole chunks, beyond n of the last value.
template <typename T, typename S>
Array<T> padded(const S* from, int64_t n) {
  const int64_t whole = (n + kChunk - 1) / kChunk * kChunk;
  Array<T> to(whole);
  for (int64_t i = 0; i < whole; ++i) to[i] = static_cast<T>(from[std::min(i, n - 1)]);
  return to;
}

// The first n of a padded array, where they are wanted.
template <typename T, typename S>
void give(const Array<S>& from, const ffi::AnyBuffer& to, int64_t n) {
  if (static_cast<int64_t>(to.element_count()) != n) return;
  T* out = reinterpret_cast<T*>(to.untyped_data());
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(from[i]);
}

template <typename T>
bool one_value(const Array<T>& values, int64_t n) {
  return std::all_of(values.get(), values.get() + n, [&](T value) { return value == values[0]; });
}

template <typename T>
void take_population(Population<T>& p, const int64_t*& at, Take<ffi::RemainingArgs>& in) {
  p.kind = static_cast<PopulationKind>(*at++);
  p.n = *at++;
  p.n_driven = *at++;
  p.n_shown = *at++;
  const bool masked = *at++ != 0;
  p.clears = *at++ != 0;
  p.n_chunks = (p.n + kChunk - 1) / kChunk;
  p.total = 0;
  p.conductances = false;
  p.pulls = p.kind == kGeneralised;
  if (p.kind == kSource) {
    p.given = in.data<T>();
    return;
  }
  const int64_t n = p.n;
  p.v = padded<T>(in.data<T>(), n);
  p.rest = padded<Signed<T>>(in.data<int32_t>(), n);
  p.held_base = in.data<T>();
  p.base = padded<T>(p.held_base, n);
  p.period = padded<Signed<T>>(in.data<int32_t>(), n);
  p.driven = in.data<int32_t>();
  p.drive = in.data<T>();
  p.shown = in.data<int32_t>();
  const T* alive = in.data<T>();
  p.alive = masked ? alive : nullptr;
  if (p.kind == kGeneralised) {
    for (Array<T>* state : {&p.theta_spike, &p.theta_voltage, &p.first, &p.second}) {
      const ffi::AnyBuffer given = in.next();  // empty where the level does not have it
      const T* values = reinterpret_cast<const T*>(given.untyped_data());
      *state = given.element_count() ? padded<T>(values, n) : Array<T>(p.n_chunks * kChunk);
    }
    const T* all = in.data<T>();
    for (int64_t k = 0; k < kCoefficients; ++k) p.coefficients[k] = padded<T>(all + k * n, n);
  } else {
    p.decay = padded<T>(in.data<T>(), n);
    p.theta = padded<T>(in.data<T>(), n);
    p.reset = padded<T>(in.data<T>(), n);
  }
  p.special = Array<uint8_t>(p.n_chunks);
  for (int64_t k = 0; k < p.n_driven; ++k) p.special[p.driven[k] / kChunk] = 1;
  for (int64_t k = 0; k < p.n_shown; ++k) p.special[p.shown[k] / kChunk] = 1;
  for (int64_t i = 0; masked && i < n; ++i)
    if (alive[i] <= 0) p.special[i / kChunk] = 1;
}

template <typename T>
void take_wire(Wire<T>& w, const int64_t*& at, std::vector<Population<T>>& populations, Take<ffi::RemainingArgs>& in) {
  w.pre = *at++;
  w.post = *at++;
  w.delay = *at++;
  w.rows = *at++;
  w.kind = static_cast<WireKind>(*at++);
  w.later_bytes = *at++;
  w.n_post = populations[w.post].n;
  w.n_chunks = populations[w.post].n_chunks;
  const ffi::AnyBuffer y = in.next();
  const T* under_way = in.data<T>();
  const ffi::AnyBuffer gain = in.next(), fade = in.next(), pull = in.next();
  for (const auto& [to, from] : {std::pair{&w.y, y}, {&w.gain, gain}, {&w.fade, fade}, {&w.pull, pull}})
    if (from.element_count()) *to = padded<T>(reinterpret_cast<const T*>(from.untyped_data()), w.n_post);
  w.indptr = in.data<int32_t>();
  w.target = in.data<int32_t>();
  w.weight = in.data<T>();
  w.scale = *in.data<T>();
  const void* later = in.next().untyped_data();
  w.later = w.later_bytes ? later : nullptr;
  w.line = Array<T>(w.n_chunks * w.rows * kChunk);
  w.touched = Array<uint8_t>(w.n_chunks * w.rows);
  w.whole = Array<uint8_t>(w.rows);
  w.row.resize(w.rows);
  for (int64_t row = 0; row < w.rows; ++row) {
    const T* from = under_way + row * w.n_post;
    w.whole[row] = std::any_of(from, from + w.n_post, [](T value) { return value != 0; });
    if (!w.whole[row]) continue;
    for (int64_t chunk = 0; chunk < w.n_chunks; ++chunk)
      std::copy_n(from + chunk * kChunk, std::min(kChunk, w.n_post - chunk * kChunk), w.part(chunk, row));
  }
}

// plan: steps, steps of a block, populations, wires; of every population its kind, its size, how many neurons are
// driven and shown, whether some are dead, and whether spikes clear synapses; of every wire pre, post, shortest and longest delay, kind, bytes of
// `later`.
template <typename T>
ffi::Error spiking(ffi::ThreadPool pool, ffi::Span<const int64_t> plan, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const FlushToZero flush;
  const int64_t* at = plan.begin();
  const int64_t n_steps = *at++, block = *at++, n_populations = *at++, n_wires = *at++;
  if (n_steps < 1 || block < 1) return invalid("a run needs a step");
  if (static_cast<int64_t>(plan.size()) != 4 + 6 * n_populations + 6 * n_wires) return invalid("the plan has another length");
  Take<ffi::RemainingArgs> in(args);
  Take<ffi::RemainingRets> out(rets);
  std::vector<Population<T>> populations(n_populations);
  std::vector<Wire<T>> wires(n_wires);
  for (Population<T>& p : populations) {
    take_population(p, at, in);
    const int64_t n_ranges = p.kind == kSource ? 1 : std::clamp(p.n_chunks / kFewestChunks, int64_t{1}, kMostRanges);
    for (int64_t k = 0; k < n_ranges; ++k)
      p.ranges.push_back({p.n_chunks * k / n_ranges, p.n_chunks * (k + 1) / n_ranges, {}});
    for (Range& r : p.ranges) r.fired.resize(block);
  }
  for (Wire<T>& w : wires) {
    take_wire(w, at, populations, in);
    choose_walk(w, populations[w.pre].n);
    if (w.delay < block || w.rows < w.delay) return invalid("delays are shorter than the block, or than the shortest");
    Population<T>& post = populations[w.post];
    if (post.kind == kSource) return invalid("a wire ends at a source");
    (w.kind == kDelta ? post.jumps : post.onto).push_back(&w);
    post.conductances |= w.kind == kConductance;
    post.pulls |= w.kind == kConductance;
  }
  for (Population<T>& p : populations) {
    if (p.kind != kLeaky) continue;
    p.same = one_value(p.decay, p.n) && one_value(p.theta, p.n) && one_value(p.reset, p.n) && one_value(p.period, p.n);
    for (const Wire<T>* w : p.onto) {
      if ((w->kind == kConductance) != p.conductances) return invalid("currents and conductances onto one population");
      p.same = p.same && one_value(w->gain, p.n) && one_value(w->fade, p.n);
      p.same = p.same && (!p.conductances || one_value(w->pull, p.n));
    }
  }
  std::vector<ffi::AnyBuffer> results;
  for (Population<T>& p : populations) {
    if (p.kind != kSource) {
      for (int k = 0; k < (p.kind == kLeaky ? 2 : 6); ++k) results.push_back(out.next());
      p.trace = out.data<T>();
    }
    p.counts = out.data<int32_t>();
    const ffi::AnyBuffer ids = out.next();
    p.ids = reinterpret_cast<int32_t*>(ids.untyped_data());
    p.room = static_cast<int64_t>(ids.element_count());
  }
  run(pool, populations, wires, n_steps, block);
  auto result = results.begin();
  for (const Population<T>& p : populations) {
    if (p.kind == kSource) continue;
    give<T>(p.v, *result++, p.n);
    give<int32_t>(p.rest, *result++, p.n);
    if (p.kind == kGeneralised)
      for (const Array<T>* state : {&p.theta_spike, &p.theta_voltage, &p.first, &p.second}) give<T>(*state, *result++, p.n);
  }
  for (const Wire<T>& w : wires) {
    const ffi::AnyBuffer y = out.next();
    if (y.element_count()) give<T>(w.y, y, w.n_post);
    T* under_way = out.data<T>();
    for (int64_t k = 0; k < w.rows; ++k)
      for (int64_t chunk = 0; chunk < w.n_chunks; ++chunk)
        std::copy_n(w.part(chunk, (w.head + k) % w.rows), std::min(kChunk, w.n_post - chunk * kChunk),
                    under_way + k * w.n_post + chunk * kChunk);
  }
  return ffi::Error::Success();
}

auto signature() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<ffi::Span<const int64_t>>("plan").RemainingArgs().RemainingRets();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_spiking_f32, spiking<float>, signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_spiking_f64, spiking<double>, signature());
