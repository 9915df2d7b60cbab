// Many steps of a network of leaky integrate-and-fire neurons in one call, without gradients.
//
// The equations are those of sim/neurons/lif.py with the synapses of sim/synapses/current.py (exponential) and delta.py;
// sim/fused.py works out the coefficients and says which networks qualify. For every step of dt
//
//   V'   = base + (V - base) decay + sum_s gain_s y_s + jumps      reset while the neuron rests
//   spike where V' >= theta, then V' = reset, for `period` steps
//   y_s' = y_s fade_s + arriving_s                                 0 while it rests, where spikes clear the synapses
//
// Time runs in blocks of the shortest delay. Within a block nothing that is sent can arrive, so that neurons are
// independent of each other: a tile of them takes all steps of the block while its state is in the first cache. Then the
// spikes of the block are delivered to the rows of the delay lines that will be read at their arrival.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "simd.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kTile = 512;      // neurons: a dozen arrays of this length fit a first cache of 48 kB
constexpr int kMostFused = 3;        // exponential wires onto a population that one loop takes
enum WireKind { kDelta = 0, kExponential = 1 };

template <typename T>
struct Wire {
  int64_t pre, post, delay;
  WireKind kind;
  bool clears;
  const T *gain, *fade, *weight;
  const int32_t *indptr, *target;
  T *y, *line;     // state, and the delay line [delay, neurons]
  int64_t head;    // the row of the line that is read next
  int64_t n_post;

  T* row(int64_t steps_on) const { return line + (head + steps_on) % delay * n_post; }
};

template <typename T>
struct Population {
  int64_t n;
  // A source: given spikes, [steps, n], and nothing else.
  const T* given;
  T *v, *base;
  int32_t* rest;
  const T *held_base, *decay, *theta, *reset, *alive;
  const int32_t* period;
  const int32_t* driven;  // neurons, ascending, whose base moves in time by `drive` [steps, n_driven]
  const T* drive;
  int64_t n_driven;
  const int32_t* shown;  // neurons, ascending, whose V is recorded, into `trace` [steps, n_shown]
  T* trace;
  int64_t n_shown;
  bool same;       // all neurons have the same parameters
  int32_t *counts, *ids;  // spikes of each step, and who, as far as there is room
  int64_t room, total;
  std::vector<Wire<T>*> exponential, delta, out;
  std::vector<std::vector<int32_t>> fired;  // of each step of the block
};

// One step of the neurons [0, n) of a tile. C: how many exponential wires there are. kSame: all neurons have the same
// parameters, which are then read once. Returns whether any neuron fired.
template <typename T, int C, bool kJumps, bool kMasked, bool kSame>
INLINE bool step_tile(int64_t n, T* v, int32_t* rest, const T* base, const T* decay, const T* theta, const T* reset,
                      const int32_t* period, const T* alive, const T* jump, T* const* y, T* const* line,
                      const T* const* gain, const T* const* fade, const T* kept, int32_t* fired) {
  const T decay_0 = decay[0], theta_0 = theta[0], reset_0 = reset[0];
  const int32_t period_0 = period[0];
  T gain_0[C + 1], fade_0[C + 1];
  for (int c = 0; c < C; ++c) gain_0[c] = gain[c][0], fade_0[c] = fade[c][0];
  int32_t any = 0;
  _Pragma("omp simd reduction(| : any)")
  for (int64_t i = 0; i < n; ++i) {
    // All is read before any choice, so that the choices become masks.
    const T b = base[i], to = kSame ? reset_0 : reset[i], limit = kSame ? theta_0 : theta[i];
    const int32_t left = rest[i], pause = kSame ? period_0 : period[i];
    T u = b + (v[i] - b) * (kSame ? decay_0 : decay[i]);
    for (int c = 0; c < C; ++c) u += (kSame ? gain_0[c] : gain[c][i]) * y[c][i];
    if (kJumps) u += jump[i];
    const int32_t resting = left > 0, over = u >= limit;
    const int32_t held = resting | over, spike = over & ~resting;
    v[i] = held ? to : u;
    rest[i] = std::max(left - 1, 0) + (-spike & pause);  // who spikes had nothing left
    for (int c = 0; c < C; ++c) {
      const T arriving = kMasked ? line[c][i] * alive[i] : line[c][i];
      const T next = y[c][i] * (kSame ? fade_0[c] : fade[c][i]) + arriving;
      y[c][i] = held ? next * kept[c] : next;
      line[c][i] = 0;
    }
    fired[i] = spike;
    any |= spike;
  }
  return any != 0;
}

template <typename T, int C, bool kJumps, bool kMasked, bool kSame>
INLINE void run_tile(Population<T>& p, int64_t first, int64_t last, int64_t step, int64_t length) {
  T* y[C + 1];
  T* line[C + 1];
  const T *gain[C + 1], *fade[C + 1];
  T kept[C + 1];
  alignas(64) T jump[kTile];
  alignas(64) int32_t fired[kTile];
  const int64_t n = last - first;
  const int32_t* driven = std::lower_bound(p.driven, p.driven + p.n_driven, static_cast<int32_t>(first));
  const int32_t* driven_end = std::lower_bound(driven, p.driven + p.n_driven, static_cast<int32_t>(last));
  const int32_t* shown = std::lower_bound(p.shown, p.shown + p.n_shown, static_cast<int32_t>(first));
  const int32_t* shown_end = std::lower_bound(shown, p.shown + p.n_shown, static_cast<int32_t>(last));
  for (int64_t q = 0; q < length; ++q) {
    for (const int32_t* d = driven; d < driven_end; ++d)
      p.base[*d] = p.held_base[*d] + p.drive[(step + q) * p.n_driven + (d - p.driven)];
    for (int c = 0; c < C; ++c) {
      const Wire<T>& w = *p.exponential[c];
      y[c] = w.y + first;
      line[c] = w.row(q) + first;
      gain[c] = w.gain + first;
      fade[c] = w.fade + first;
      kept[c] = w.clears ? 0 : 1;
    }
    if (kJumps) {
      std::memset(jump, 0, sizeof(T) * n);
      for (const Wire<T>* w : p.delta) {
        T* row = w->row(q) + first;
        for (int64_t i = 0; i < n; ++i) {
          jump[i] += kMasked ? row[i] * p.alive[first + i] : row[i];
          row[i] = 0;
        }
      }
    }
    const bool any = step_tile<T, C, kJumps, kMasked, kSame>(
        n, p.v + first, p.rest + first, p.base + first, p.decay + first, p.theta + first, p.reset + first,
        p.period + first, kMasked ? p.alive + first : nullptr, jump, y, line, gain, fade, kept, fired);
    for (const int32_t* s = shown; s < shown_end; ++s) p.trace[(step + q) * p.n_shown + (s - p.shown)] = p.v[*s];
    if (!any) continue;
    for (int64_t i = 0; i < n; ++i)
      if (fired[i] && (!kMasked || p.alive[first + i] > 0)) p.fired[q].push_back(static_cast<int32_t>(first + i));
  }
}

template <typename T>
using TileRunner = void (*)(Population<T>&, int64_t, int64_t, int64_t, int64_t);

// Every number of exponential wires, with and without jumps and masks and one set of parameters, for each type and
// level of the processor.
#define RUNNER(LEVEL, TARGET, T, C, J, M, S)                                                                    \
  TARGET void run_tile_##T##_##C##J##M##S##_##LEVEL(Population<T>& p, int64_t first, int64_t last, int64_t step, \
                                                    int64_t length) {                                           \
    run_tile<T, C, J, M, S>(p, first, last, step, length);                                                      \
  }
#define RUNNERS_OF(T, C)                 \
  FOR_EACH_LEVEL(RUNNER, T, C, 0, 0, 0)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 0, 0, 1)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 0, 1, 0)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 0, 1, 1)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 1, 0, 0)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 1, 0, 1)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 1, 1, 0)  \
  FOR_EACH_LEVEL(RUNNER, T, C, 1, 1, 1)  \
  const TileRunner<T> kRunners_##T##_##C[2][2][2][3] = {                                       \
      {{LEVELS(run_tile_##T##_##C##000), LEVELS(run_tile_##T##_##C##001)},                     \
       {LEVELS(run_tile_##T##_##C##010), LEVELS(run_tile_##T##_##C##011)}},                    \
      {{LEVELS(run_tile_##T##_##C##100), LEVELS(run_tile_##T##_##C##101)},                     \
       {LEVELS(run_tile_##T##_##C##110), LEVELS(run_tile_##T##_##C##111)}}};
#define RUNNERS(T)                                                                                       \
  RUNNERS_OF(T, 0)                                                                                       \
  RUNNERS_OF(T, 1)                                                                                       \
  RUNNERS_OF(T, 2)                                                                                       \
  RUNNERS_OF(T, 3)                                                                                       \
  TileRunner<T> runner(const Population<T>& p) {                                                         \
    const size_t c = p.exponential.size();                                                               \
    const auto* all = c == 0 ? kRunners_##T##_0 : c == 1 ? kRunners_##T##_1 : c == 2 ? kRunners_##T##_2  \
                                                                                     : kRunners_##T##_3; \
    return all[!p.delta.empty()][p.alive != nullptr][p.same][level()];                                   \
  }
RUNNERS(float)
RUNNERS(double)

template <typename T>
void deliver(Population<T>& p, int64_t length) {
  for (Wire<T>* w : p.out)
    for (int64_t q = 0; q < length; ++q) {
      // A spike of step q arrives a delay later, in the row that step q has just read.
      T* row = w->row(q);
      const std::vector<int32_t>& ids = p.fired[q];
      for (size_t a = 0; a < ids.size(); ++a) {
        if (a + 2 < ids.size()) {
          const int64_t next = w->indptr[ids[a + 2]];
          for (int64_t l = 0; l < 4; ++l) {
            PREFETCH(w->target + next + 16 * l);
            PREFETCH(w->weight + next + 16 * l);
          }
        }
        const int64_t stop = w->indptr[ids[a] + 1];
        for (int64_t e = w->indptr[ids[a]]; e < stop; ++e) row[w->target[e]] += w->weight[e];
      }
    }
}

template <typename T>
void run(std::vector<Population<T>>& populations, std::vector<Wire<T>>& wires, int64_t n_steps, int64_t block) {
  for (int64_t step = 0; step < n_steps; step += block) {
    const int64_t length = std::min(block, n_steps - step);
    for (Population<T>& p : populations) {
      for (int64_t q = 0; q < length; ++q) p.fired[q].clear();
      if (p.given != nullptr) {
        for (int64_t q = 0; q < length; ++q)
          for (int64_t i = 0; i < p.n; ++i)
            if (p.given[(step + q) * p.n + i] != 0) p.fired[q].push_back(static_cast<int32_t>(i));
      } else {
        const TileRunner<T> tile = runner(p);
        for (int64_t first = 0; first < p.n; first += kTile)
          tile(p, first, std::min(first + kTile, p.n), step, length);
      }
      for (int64_t q = 0; q < length; ++q) {
        p.counts[step + q] = static_cast<int32_t>(p.fired[q].size());
        for (const int32_t i : p.fired[q]) {
          if (p.total < p.room) p.ids[p.total] = i;
          ++p.total;
        }
      }
    }
    for (Population<T>& p : populations) deliver(p, length);
    for (Wire<T>& w : wires) w.head = (w.head + length) % w.delay;
  }
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

template <typename T>
T* copied(const ffi::AnyBuffer& from, T* to) {
  if (from.untyped_data() != to) std::memcpy(to, from.untyped_data(), from.size_bytes());
  return to;
}

template <typename T>
bool one_value(const T* values, int64_t n) {
  return std::all_of(values, values + n, [&](T value) { return value == values[0]; });
}

// plan: steps, steps of a block, populations, wires; of every population whether it is a source, its size, and how many
// neurons are driven, shown and masked; of every wire pre, post, delay, kind and whether spikes clear it.
template <typename T>
ffi::Error lif(ffi::Span<const int64_t> plan, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const FlushToZero flush;
  const int64_t* at = plan.begin();
  const int64_t n_steps = *at++, block = *at++, n_populations = *at++, n_wires = *at++;
  if (n_steps < 1 || block < 1) return invalid("a run needs a step");
  if (static_cast<int64_t>(plan.size()) != 4 + 5 * n_populations + 5 * n_wires) return invalid("the plan has another length");
  Take<ffi::RemainingArgs> in(args);
  Take<ffi::RemainingRets> out(rets);
  std::vector<Population<T>> populations(n_populations);
  std::vector<Wire<T>> wires(n_wires);
  std::vector<std::vector<T>> bases(n_populations);
  for (int64_t k = 0; k < n_populations; ++k) {
    Population<T>& p = populations[k];
    const bool source = *at++ != 0;
    p.n = *at++;
    p.n_driven = *at++;
    p.n_shown = *at++;
    const bool masked = *at++ != 0;
    p.total = 0;
    p.given = nullptr;
    p.fired.resize(block);
    if (source) {
      p.given = in.data<T>();
    } else {
      const ffi::AnyBuffer v = in.next(), rest = in.next();
      p.held_base = in.data<T>();
      p.decay = in.data<T>();
      p.theta = in.data<T>();
      p.reset = in.data<T>();
      p.period = in.data<int32_t>();
      p.driven = in.data<int32_t>();
      p.drive = in.data<T>();
      p.shown = in.data<int32_t>();
      const T* alive = in.data<T>();
      p.alive = masked ? alive : nullptr;
      p.v = copied(v, out.data<T>());
      p.rest = copied(rest, out.data<int32_t>());
      bases[k].assign(p.held_base, p.held_base + p.n);
      p.base = bases[k].data();
      p.trace = out.data<T>();
    }
    p.counts = out.data<int32_t>();
    const ffi::AnyBuffer ids = out.next();
    p.ids = reinterpret_cast<int32_t*>(ids.untyped_data());
    p.room = static_cast<int64_t>(ids.element_count());
  }
  for (int64_t k = 0; k < n_wires; ++k) {
    Wire<T>& w = wires[k];
    w.pre = *at++;
    w.post = *at++;
    w.delay = *at++;
    w.kind = static_cast<WireKind>(*at++);
    w.clears = *at++ != 0;
    if (w.delay < block) return invalid("a delay is shorter than the block");
    const ffi::AnyBuffer y = in.next(), line = in.next();
    w.gain = in.data<T>();
    w.fade = in.data<T>();
    w.indptr = in.data<int32_t>();
    w.target = in.data<int32_t>();
    w.weight = in.data<T>();
    w.y = copied(y, out.data<T>());
    w.line = copied(line, out.data<T>());
    w.head = 0;
    w.n_post = populations[w.post].n;
    populations[w.pre].out.push_back(&w);
    (w.kind == kDelta ? populations[w.post].delta : populations[w.post].exponential).push_back(&w);
  }
  for (const Population<T>& p : populations)
    if (p.exponential.size() > kMostFused) return invalid("too many exponential wires onto a population");
  for (Population<T>& p : populations) {
    if (p.given != nullptr) continue;
    p.same = one_value(p.decay, p.n) && one_value(p.theta, p.n) && one_value(p.reset, p.n) && one_value(p.period, p.n);
    for (const Wire<T>* w : p.exponential) p.same = p.same && one_value(w->gain, p.n) && one_value(w->fade, p.n);
  }
  run(populations, wires, n_steps, block);
  for (Wire<T>& w : wires) std::rotate(w.line, w.line + w.head * w.n_post, w.line + w.delay * w.n_post);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_lif_f32, lif<float>,
                              ffi::Ffi::Bind().Attr<ffi::Span<const int64_t>>("plan").RemainingArgs().RemainingRets());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_lif_f64, lif<double>,
                              ffi::Ffi::Bind().Attr<ffi::Span<const int64_t>>("plan").RemainingArgs().RemainingRets());
