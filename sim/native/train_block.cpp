// Many steps of a network of integrate-and-fire neurons for a batch of trials, and the adjoint of these steps.
//
// fit/train/compiled_block.py works out the coefficients and says which networks qualify; the equations are those of
// sim/neurons/lif.py and gif.py with the exponential currents and conductances of sim/synapses, and the adjoint is theirs,
// with the surrogate derivative of sim/surrogate.py where a neuron spikes. Every step of dt
//
//   leak = 1 + sum_s C_s y_s,  V_inf = (base + sum_s P_s y_s) / leak            sums over conductances s
//   V'   = V_inf + (V - V_inf) exp(-X) + scale sum_c i_c gain_c,  X = rate leak   sum over currents c
//   y'   = y fade + what arrives
//
// Trials are the lanes of vectors: 64 bytes of them make a group, and all is done for one group at a time, so that a
// spike of a neuron in any of its trials is one vector along the neuron's edges. Groups share nothing, and are put
// together in their order: no result depends on the number of threads.

#if defined(__GNUC__)

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "simd.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

template <typename T>
struct OfTrials {
  typedef T Line __attribute__((vector_size(64)));
};
template <typename T>
using Line = typename OfTrials<T>::Line;
template <typename T>
constexpr int64_t kLanes = 64 / sizeof(T);

constexpr int64_t kMostOnto = 8;  // wires onto one population

// Columns of a population's coefficients; fit/train/coefficients.py names and computes them. Those of the wires onto it follow.
enum Coefficient {
  kBase, kRate, kScale, kReset, kTheta,
  kThetaReset, kRest, kPull, kSettled, kReturn, kFaded, kOwn
};
enum OfOwn { kOwnKappa, kOwnMean, kOwnFade, kOwnKept, kOwnAdded, kOwnRows };
enum OfWire { kWireKappa, kWireMean, kWireFade, kWireRows };
constexpr int kConductance = 0, kPulls = 1;  // of a wire that opens conductances, in place of the first two
enum Variable { kV, kResting, kThetaNow, kFirst };
enum PopulationKind { kLeaky = 0, kTwoCurrents = 1 };

// The order of fit/train/coefficients.py.
enum SurrogateKind {
  kSigmoid, kPiecewiseQuadratic, kPiecewiseExponential, kSoftSign, kArctan, kNonzeroSignLog, kErf, kPiecewiseLeakyRelu,
  kS2nn, kLeakyRelu, kLogTailedRelu, kRelu, kGaussian, kMultiGaussian, kInverseSquare, kSLayer
};

struct Surrogate {
  int kind;
  double width, setting[3];
};

template <typename T>
constexpr T kInverseFactorial[] = {T(1),          T(1),           T(1.0 / 2),      T(1.0 / 6),       T(1.0 / 24),
                                   T(1.0 / 120),  T(1.0 / 720),   T(1.0 / 5040),   T(1.0 / 40320),   T(1.0 / 362880),
                                   T(1.0 / 3628800), T(1.0 / 39916800), T(1.0 / 479001600), T(1.0 / 6227020800)};

// What exp(x) needs of a type: its range, the number that shifts a whole number into the last bits, log 2 in two parts,
// the first of which has few enough digits that products with whole numbers are exact, and a Taylor polynomial.
template <typename T>
struct ExpOf;
template <>
struct ExpOf<float> {
  static constexpr float kLowest = -87.3f, kShift = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  static constexpr int kMantissa = 23, kDegree = 7;
  static constexpr const float* kFactor = kInverseFactorial<float>;
};
template <>
struct ExpOf<double> {
  static constexpr double kLowest = -708.3, kShift = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLog2High = 6.93145751953125e-1, kLog2Low = 1.42860682030941723212e-6;
  static constexpr int kMantissa = 52, kDegree = 13;
  static constexpr const double* kFactor = kInverseFactorial<double>;
};

// Zeros that begin at a cache line.
template <typename V>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t n) : data_(static_cast<V*>(::operator new(sizeof(V) * std::max<int64_t>(n, 1), std::align_val_t{64}))) {
    std::memset(static_cast<void*>(data_.get()), 0, sizeof(V) * n);
  }
  V* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(V* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<V, Free> data_;
};

template <typename T>
struct Edges {
  int64_t n_pre;
  const int32_t *indptr, *post;
  const T* weight;
};

template <typename T>
struct Population {
  PopulationKind kind;
  int64_t n, n_vars, n_onto = 0, own_rows, rows;
  bool pulled = false, one_current = false, wanted = false;
  bool open[kMostOnto] = {};
  int64_t onto[kMostOnto] = {};
  Surrogate surrogate;
  const T *coefficients, *period;
  // Of the state: [trial, n] each. given, taken: what comes in and goes out, of the state or of its adjoint.
  const T* given[5] = {};
  T* taken[5] = {};
  // [step, trial, n]: spikes and voltages, or their adjoints; none where voltages are not watched.
  T *spikes = nullptr, *trace = nullptr;
  const T *of_spikes = nullptr, *of_trace = nullptr;
  T* of_coefficients = nullptr;
};

template <typename T>
struct Wire {
  int64_t pre, post, delay, place;  // pre: -1 for what is given; place: among those onto the population
  int64_t behind = 0;               // the row of what is given that arrives in the first step
  bool open;
  const T *y, *under_way;
  T *y_out, *under_way_out, *of_weight = nullptr;
  Edges<T> edges{};
};

// A group's part of a population in one step.
template <typename T>
struct Forward {
  Line<T>* state;
  Line<T>*y[kMostOnto], *arriving[kMostOnto];
  Line<T>* spikes;
  uint32_t *masks, valid;
};

template <typename T>
struct Backward {
  Line<T>* state;
  Line<T>*y[kMostOnto], *arriving[kMostOnto];
  Line<T>*spikes, *coefficients;
};

#define NOT_INLINE __attribute__((noinline))
#define LEVEL level_base
#define TARGET
#define VECTOR_BYTES 16
#include "train_steps.inc"
#if defined(__x86_64__)
#undef LEVEL
#undef TARGET
#undef VECTOR_BYTES
#define LEVEL level_avx2
#define TARGET AVX2
#define VECTOR_BYTES 32
#include "train_steps.inc"
#undef LEVEL
#undef TARGET
#undef VECTOR_BYTES
#define LEVEL level_avx512
#define TARGET AVX512
#define VECTOR_BYTES 64
#include "train_steps.inc"
#endif

template <typename T>
struct Steps {
  void (*forward[2])(const Population<T>&, Forward<T>&, Line<T>*, uint32_t*);
  void (*backward[2][2])(const Population<T>&, Backward<T>&, const Line<T>*);
  void (*send)(const Edges<T>&, const uint32_t*, const Line<T>*, Line<T>*);
  void (*send_back)(const Edges<T>&, const uint32_t*, const Line<T>*, Line<T>*, T*);
  void (*give_back)(const Edges<T>&, const uint32_t*, const Line<T>*, const Line<T>*, Line<T>*, T*);
  void (*make_masks)(const Line<T>*, int64_t, uint32_t*);
};

#define STEPS(LEVEL, TARGET, T)                                                                                       \
  Steps<T>{{level_##LEVEL::forward_neurons<T, false>, level_##LEVEL::forward_neurons<T, true>},                        \
           {{level_##LEVEL::backward_neurons<T, false, false>, level_##LEVEL::backward_neurons<T, false, true>},       \
            {level_##LEVEL::backward_neurons<T, true, false>, level_##LEVEL::backward_neurons<T, true, true>}},        \
           level_##LEVEL::send<T>,                                                                                    \
           level_##LEVEL::send_back<T>, level_##LEVEL::give_back<T>, level_##LEVEL::make_masks<T>},

template <typename T>
const Steps<T>& steps_of() {
  static const Steps<T> kAll[] = {FOR_EACH_LEVEL(STEPS, T)};
  return kAll[level()];
}

template <typename T>
struct Problem {
  int64_t n_steps, n_trials;
  bool store, watch;
  // What is given: [ahead + step, trial, input], and its adjoint, if it is wanted.
  int64_t n_inputs, ahead;
  const T* given = nullptr;
  T* of_given = nullptr;
  std::vector<Population<T>> populations;
  std::vector<Wire<T>> wires;
  // What is kept of a step for the adjoint, of a group: lines, and a mask for every neuron.
  int64_t lines = 0, masks = 0;

  int64_t groups() const { return (n_trials + kLanes<T> - 1) / kLanes<T>; }
  int64_t kept() const { return groups() * n_steps * (lines * 64 + masks * 4); }
  Line<T>* lines_at(void* stored, int64_t group, int64_t step) const {
    return static_cast<Line<T>*>(stored) + (group * n_steps + step) * lines;
  }
  uint32_t* masks_at(void* stored, int64_t group, int64_t step) const {
    return reinterpret_cast<uint32_t*>(static_cast<Line<T>*>(stored) + groups() * n_steps * lines) + (group * n_steps + step) * masks;
  }
};

// Rows of trials to lines of neurons and back. Beyond the last trial lanes repeat it, or are 0.
template <typename T>
void to_lines(const T* from, int64_t n, int64_t first, int64_t n_trials, bool repeat, Line<T>* to) {
  T* out = reinterpret_cast<T*>(to);
  for (int64_t l = 0; l < kLanes<T>; ++l) {
    const int64_t trial = first + l;
    const T* row = from + std::min(trial, n_trials - 1) * n;
    if (trial >= n_trials && !repeat)
      for (int64_t i = 0; i < n; ++i) out[i * kLanes<T> + l] = 0;
    else
      for (int64_t i = 0; i < n; ++i) out[i * kLanes<T> + l] = row[i];
  }
}

template <typename T>
void to_rows(const Line<T>* from, int64_t stride, int64_t n, int64_t first, int64_t n_trials, T* to) {
  const T* in = reinterpret_cast<const T*>(from);
  const int64_t last = std::min(kLanes<T>, n_trials - first);
  for (int64_t l = 0; l < last; ++l)
    for (int64_t i = 0; i < n; ++i) to[(first + l) * n + i] = in[i * stride * kLanes<T> + l];
}

// Every variable of the state in or out of the group's [neuron, variable].
template <typename T>
void take_state(const Population<T>& p, int64_t first, int64_t n_trials, bool repeat, Line<T>* buffer, Line<T>* state) {
  for (int64_t k = 0; k < p.n_vars; ++k) {
    if (p.given[k] == nullptr) continue;
    to_lines(p.given[k], p.n, first, n_trials, repeat, buffer);
    for (int64_t i = 0; i < p.n; ++i) state[i * p.n_vars + k] = buffer[i];
  }
}

template <typename T>
void give_state(const Population<T>& p, int64_t first, int64_t n_trials, const Line<T>* state) {
  for (int64_t k = 0; k < p.n_vars; ++k)
    if (p.taken[k] != nullptr) to_rows(state + k, p.n_vars, p.n, first, n_trials, p.taken[k]);
}

// What is given in a row, of the group's trials.
template <typename T>
class Given {
 public:
  Given(const Problem<T>& q, int64_t first) : q_(q), first_(first), values_(q.n_inputs), masks_(q.n_inputs) {}

  void take(int64_t row) {
    if (row == row_) return;
    row_ = row;
    to_lines(q_.given + row * q_.n_trials * q_.n_inputs, q_.n_inputs, first_, q_.n_trials, false, values_.get());
    steps_of<T>().make_masks(values_.get(), q_.n_inputs, masks_.get());
  }
  const Line<T>* values() const { return values_.get(); }
  const uint32_t* masks() const { return masks_.get(); }

 private:
  const Problem<T>& q_;
  int64_t first_, row_ = -1;
  Array<Line<T>> values_;
  Array<uint32_t> masks_;
};

template <typename T>
struct Lines {
  std::vector<Array<Line<T>>> arrays;
  Line<T>* make(int64_t n) {
    arrays.emplace_back(n);
    return arrays.back().get();
  }
};

template <typename T>
void forward_group(const Problem<T>& q, int64_t group, void* stored) {
  const Steps<T>& steps = steps_of<T>();
  const int64_t first = group * kLanes<T>, n_here = std::min(kLanes<T>, q.n_trials - first);
  Lines<T> lines;
  Given<T> given(q, first);
  std::vector<Forward<T>> parts(q.populations.size());
  std::vector<Array<uint32_t>> masks;
  int64_t most = 1;
  for (size_t k = 0; k < parts.size(); ++k) most = std::max(most, q.populations[k].n);
  Line<T>* const buffer = lines.make(most);
  for (size_t k = 0; k < parts.size(); ++k) {
    const Population<T>& p = q.populations[k];
    parts[k].state = lines.make(p.n * p.n_vars);
    parts[k].spikes = lines.make(p.n);
    masks.emplace_back(p.n);
    parts[k].masks = masks.back().get();
    parts[k].valid = static_cast<uint32_t>((uint64_t{1} << n_here) - 1);
    take_state(p, first, q.n_trials, true, buffer, parts[k].state);
  }
  std::vector<Line<T>*> y, line;
  for (const Wire<T>& w : q.wires) {
    const int64_t n = q.populations[w.post].n;
    y.push_back(lines.make(n));
    to_lines(w.y, n, first, q.n_trials, true, y.back());
    line.push_back(lines.make(n * w.delay));
    if (w.pre >= 0)
      for (int64_t r = 0; r < w.delay; ++r)
        to_lines(w.under_way + r * q.n_trials * n, n, first, q.n_trials, true, line.back() + r * n);
    parts[w.post].y[w.place] = y.back();
  }
  for (int64_t t = 0; t < q.n_steps; ++t) {
    for (size_t k = 0; k < q.wires.size(); ++k) {
      const Wire<T>& w = q.wires[k];
      const int64_t n = q.populations[w.post].n;
      Line<T>* slot = line[k] + (t % w.delay) * n;
      if (w.pre < 0) {
        given.take(t + w.behind);
        steps.send(w.edges, given.masks(), given.values(), slot);
      }
      parts[w.post].arriving[w.place] = slot;
    }
    Line<T>* keep = q.store ? q.lines_at(stored, group, t) : nullptr;
    uint32_t* keep_masks = q.store ? q.masks_at(stored, group, t) : nullptr;
    for (size_t k = 0; k < parts.size(); ++k) {
      const Population<T>& p = q.populations[k];
      steps.forward[p.kind](p, parts[k], keep, keep_masks);
      if (q.store) {
        keep += p.n * (p.n_vars + p.n_onto);
        keep_masks += p.n;
      }
      T* const rows = p.spikes + t * q.n_trials * p.n;
      for (int64_t l = 0; l < n_here; ++l) std::memset(rows + (first + l) * p.n, 0, sizeof(T) * p.n);
      for (int64_t i = 0; i < p.n; ++i)
        for (uint32_t mask = parts[k].masks[i]; mask != 0; mask &= mask - 1)
          rows[(first + __builtin_ctz(mask)) * p.n + i] = 1;
      if (q.watch) to_rows(parts[k].state + kV, p.n_vars, p.n, first, q.n_trials, p.trace + t * q.n_trials * p.n);
    }
    for (size_t k = 0; k < q.wires.size(); ++k) {
      const Wire<T>& w = q.wires[k];
      if (w.pre >= 0)
        steps.send(w.edges, parts[w.pre].masks, parts[w.pre].spikes, line[k] + (t % w.delay) * q.populations[w.post].n);
    }
  }
  for (size_t k = 0; k < parts.size(); ++k) give_state(q.populations[k], first, q.n_trials, parts[k].state);
  for (size_t k = 0; k < q.wires.size(); ++k) {
    const Wire<T>& w = q.wires[k];
    const int64_t n = q.populations[w.post].n;
    to_rows(y[k], 1, n, first, q.n_trials, w.y_out);
    if (w.pre >= 0)
      for (int64_t r = 0; r < w.delay; ++r)
        to_rows(line[k] + (q.n_steps + r) % w.delay * n, 1, n, first, q.n_trials, w.under_way_out + r * q.n_trials * n);
  }
}

// of_weight: of each wire, [edge]. of_coefficients: of each population, [neuron, row] in lines.
template <typename T>
void backward_group(const Problem<T>& q, int64_t group, void* stored, const std::vector<T*>& of_weight,
                    const std::vector<Line<T>*>& of_coefficients) {
  const Steps<T>& steps = steps_of<T>();
  const int64_t first = group * kLanes<T>;
  Lines<T> lines;
  Given<T> given(q, first);
  Line<T>* const of_given = q.of_given == nullptr ? nullptr : lines.make((q.ahead + q.n_steps) * q.n_inputs);
  std::vector<Backward<T>> parts(q.populations.size());
  int64_t most = 1;
  for (size_t k = 0; k < parts.size(); ++k) most = std::max(most, q.populations[k].n);
  Line<T>* const buffer = lines.make(most);
  for (size_t k = 0; k < parts.size(); ++k) {
    const Population<T>& p = q.populations[k];
    parts[k].state = lines.make(p.n * p.n_vars);
    parts[k].spikes = lines.make(p.n);
    parts[k].coefficients = of_coefficients[k];
    take_state(p, first, q.n_trials, false, buffer, parts[k].state);
  }
  // The adjoint of what arrives in a step lies in the row of that step until the step before it by the delay needs it.
  std::vector<Line<T>*> y, line;
  for (const Wire<T>& w : q.wires) {
    const int64_t n = q.populations[w.post].n;
    y.push_back(lines.make(n));
    to_lines(w.y, n, first, q.n_trials, false, y.back());
    line.push_back(lines.make(n * w.delay));
    if (w.pre >= 0)
      for (int64_t r = 0; r < w.delay; ++r)
        to_lines(w.under_way + r * q.n_trials * n, n, first, q.n_trials, false, line.back() + (q.n_steps + r) % w.delay * n);
    parts[w.post].y[w.place] = y.back();
  }
  std::vector<const Line<T>*> at(parts.size());
  std::vector<const uint32_t*> masks(parts.size());
  for (int64_t t = q.n_steps - 1; t >= 0; --t) {
    const Line<T>* kept = q.lines_at(stored, group, t);
    const uint32_t* kept_masks = q.masks_at(stored, group, t);
    for (size_t k = 0; k < parts.size(); ++k) {
      const Population<T>& p = q.populations[k];
      at[k] = kept;
      masks[k] = kept_masks;
      kept += p.n * (p.n_vars + p.n_onto);
      kept_masks += p.n;
      to_lines(p.of_spikes + t * q.n_trials * p.n, p.n, first, q.n_trials, false, parts[k].spikes);
      if (!q.watch) continue;
      to_lines(p.of_trace + t * q.n_trials * p.n, p.n, first, q.n_trials, false, buffer);
      for (int64_t i = 0; i < p.n; ++i) parts[k].state[i * p.n_vars + kV] += buffer[i];
    }
    for (size_t k = 0; k < q.wires.size(); ++k) {
      const Wire<T>& w = q.wires[k];
      Line<T>* slot = line[k] + (t % w.delay) * q.populations[w.post].n;
      parts[w.post].arriving[w.place] = slot;
      if (w.pre >= 0) steps.send_back(w.edges, masks[w.pre], slot, parts[w.pre].spikes, of_weight[k]);
    }
    for (size_t k = 0; k < parts.size(); ++k) {
      const Population<T>& p = q.populations[k];
      steps.backward[p.kind][p.wanted](p, parts[k], at[k]);
    }
    for (size_t k = 0; k < q.wires.size(); ++k) {
      const Wire<T>& w = q.wires[k];
      if (w.pre >= 0) continue;
      const int64_t row = t + w.behind;
      given.take(row);
      steps.give_back(w.edges, given.masks(), given.values(), line[k],
                      of_given == nullptr ? nullptr : of_given + row * q.n_inputs, of_weight[k]);
    }
  }
  for (int64_t row = 0; of_given != nullptr && row < q.ahead + q.n_steps; ++row)
    to_rows(of_given + row * q.n_inputs, 1, q.n_inputs, first, q.n_trials, q.of_given + row * q.n_trials * q.n_inputs);
  for (size_t k = 0; k < parts.size(); ++k) give_state(q.populations[k], first, q.n_trials, parts[k].state);
  for (size_t k = 0; k < q.wires.size(); ++k) {
    const Wire<T>& w = q.wires[k];
    const int64_t n = q.populations[w.post].n;
    to_rows(y[k], 1, n, first, q.n_trials, w.y_out);
    if (w.pre >= 0)
      for (int64_t r = 0; r < w.delay; ++r)
        to_rows(line[k] + r * n, 1, n, first, q.n_trials, w.under_way_out + r * q.n_trials * n);
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
  bool enough(size_t n) const { return at_ + n <= buffers_.size(); }

 private:
  Buffers& buffers_;
  size_t at_ = 0;
};

constexpr int64_t kOfPlan = 8, kOfPopulation = 3, kOfWire = 4, kOfSurrogate = 4;

// plan: steps, trials, whether to store, whether voltages are watched, inputs, how many rows of these come before the
// first step, populations, wires; of every population its kind, its size and the surrogate's kind; of every wire pre (-1:
// the inputs), post, delay and whether it opens conductances. surrogates: of every population the width and three settings.
template <typename T>
std::string take_plan(Problem<T>& q, ffi::Span<const int64_t> plan, ffi::Span<const double> surrogates) {
  const int64_t* at = plan.begin();
  const auto size = static_cast<int64_t>(plan.size());
  if (size < kOfPlan) return "the plan is too short";
  q.n_steps = *at++;
  q.n_trials = *at++;
  q.store = *at++ != 0;
  q.watch = *at++ != 0;
  q.n_inputs = *at++;
  q.ahead = *at++;
  const int64_t n_populations = *at++, n_wires = *at++;
  if (q.n_steps < 1 || q.n_trials < 1) return "a block needs a step and a trial";
  if (size != kOfPlan + kOfPopulation * n_populations + kOfWire * n_wires ||
      static_cast<int64_t>(surrogates.size()) != kOfSurrogate * n_populations)
    return "the plan has another length";
  q.populations.resize(n_populations);
  q.wires.resize(n_wires);
  const double* settings = surrogates.begin();
  for (Population<T>& p : q.populations) {
    p.kind = static_cast<PopulationKind>(*at++);
    p.n = *at++;
    p.surrogate.kind = static_cast<int>(*at++);
    p.surrogate.width = *settings++;
    for (double& setting : p.surrogate.setting) setting = *settings++;
    p.n_vars = p.kind == kTwoCurrents ? 5 : 2;
    p.own_rows = p.kind == kTwoCurrents ? kOwn + 2 * kOwnRows : kTheta + 1;
  }
  for (int64_t k = 0; k < n_wires; ++k) {
    Wire<T>& w = q.wires[k];
    w.pre = *at++;
    w.post = *at++;
    w.delay = *at++;
    w.open = *at++ != 0;
    if (w.pre < -1 || w.pre >= n_populations || w.post < 0 || w.post >= n_populations || w.delay < 1)
      return "a wire leads nowhere";
    if (w.pre < 0) {
      w.behind = q.ahead - w.delay;
      if (w.behind < 0) return "inputs begin too late";
      w.delay = 1;
    }
    Population<T>& p = q.populations[w.post];
    if (p.n_onto == kMostOnto) return "too many wires onto one population";
    w.place = p.n_onto++;
    p.open[w.place] = w.open;
  }
  for (Population<T>& p : q.populations) {
    p.rows = p.own_rows + kWireRows * p.n_onto;
    q.lines += p.n * (p.n_vars + p.n_onto);
    q.masks += p.n;
  }
  return "";
}

// A graph's rows and edges, which must lie within each other: else the kernel would read what is not there.
template <typename T>
std::string take_edges(Wire<T>& w, const Problem<T>& q, Take<ffi::RemainingArgs>& in) {
  const ffi::AnyBuffer indptr = in.next(), post = in.next(), weight = in.next();
  w.edges.n_pre = w.pre < 0 ? q.n_inputs : q.populations[w.pre].n;
  w.edges.indptr = reinterpret_cast<const int32_t*>(indptr.untyped_data());
  w.edges.post = reinterpret_cast<const int32_t*>(post.untyped_data());
  w.edges.weight = reinterpret_cast<const T*>(weight.untyped_data());
  if (static_cast<int64_t>(indptr.element_count()) != w.edges.n_pre + 1) return "indptr has rows for other neurons";
  if (w.edges.indptr[w.edges.n_pre] > static_cast<int64_t>(post.element_count()) || post.element_count() != weight.element_count())
    return "indptr ends beyond the edges";
  return "";
}

template <typename T>
bool all_zero(const T* values, int64_t n, int64_t stride) {
  for (int64_t i = 0; i < n; ++i)
    if (values[i * stride] != 0) return false;
  return true;
}

template <typename T>
ffi::Error forward(ffi::ThreadPool pool, ffi::Span<const int64_t> plan, ffi::Span<const double> surrogates,
                   ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Problem<T> q;
  if (const std::string wrong = take_plan(q, plan, surrogates); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  Take<ffi::RemainingArgs> in(args);
  Take<ffi::RemainingRets> out(rets);
  for (Population<T>& p : q.populations) {
    p.coefficients = in.data<T>();
    p.period = in.data<T>();
    for (int64_t k = 0; k < p.n_vars; ++k) p.given[k] = in.data<T>();
    for (int64_t k = 0; k < p.n_vars; ++k) p.taken[k] = out.data<T>();
    p.spikes = out.data<T>();
    p.trace = out.data<T>();
    if (p.kind != kTwoCurrents) continue;
    p.pulled = !all_zero(p.coefficients + kPull, p.n, p.rows);
    p.one_current = all_zero(p.coefficients + kOwn + kOwnAdded, p.n, p.rows) && all_zero(p.given[kFirst], q.n_trials * p.n, 1);
  }
  for (Wire<T>& w : q.wires) {
    w.y = in.data<T>();
    w.y_out = out.data<T>();
    if (w.pre >= 0) {
      w.under_way = in.data<T>();
      w.under_way_out = out.data<T>();
    }
    if (const std::string wrong = take_edges(w, q, in); !wrong.empty()) return invalid(wrong);
  }
  q.given = in.data<T>();
  const ffi::AnyBuffer stored = out.next();
  if (q.store && static_cast<int64_t>(stored.size_bytes()) != q.kept()) return invalid("what is to be stored has another size");
  share(pool, q.groups(), [&](int64_t group) { forward_group(q, group, stored.untyped_data()); });
  return ffi::Error::Success();
}

template <typename T>
ffi::Error backward(ffi::ThreadPool pool, ffi::Span<const int64_t> plan, ffi::Span<const double> surrogates,
                    ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Problem<T> q;
  if (const std::string wrong = take_plan(q, plan, surrogates); !wrong.empty()) return invalid(wrong);
  const FlushToZero flush;
  Take<ffi::RemainingArgs> in(args);
  Take<ffi::RemainingRets> out(rets);
  for (Population<T>& p : q.populations) {
    p.coefficients = in.data<T>();
    p.period = in.data<T>();
    for (int64_t k = 0; k < p.n_vars; ++k)
      if (k != kResting) {
        p.given[k] = in.data<T>();
        p.taken[k] = out.data<T>();
      }
    p.of_spikes = in.data<T>();
    p.of_trace = in.data<T>();
    const ffi::AnyBuffer of_coefficients = out.next();
    p.of_coefficients = reinterpret_cast<T*>(of_coefficients.untyped_data());
    p.wanted = of_coefficients.element_count() != 0;
    if (p.wanted && static_cast<int64_t>(of_coefficients.element_count()) != p.n * p.rows)
      return invalid("adjoints of coefficients have another size");
    p.pulled = p.kind == kTwoCurrents && (p.wanted || !all_zero(p.coefficients + kPull, p.n, p.rows));
  }
  for (Wire<T>& w : q.wires) {
    w.y = in.data<T>();
    w.y_out = out.data<T>();
    if (w.pre >= 0) {
      w.under_way = in.data<T>();
      w.under_way_out = out.data<T>();
    }
    if (const std::string wrong = take_edges(w, q, in); !wrong.empty()) return invalid(wrong);
    w.of_weight = out.data<T>();
  }
  q.given = in.data<T>();
  const ffi::AnyBuffer of_given = out.next(), stored = in.next();
  q.of_given = of_given.element_count() ? reinterpret_cast<T*>(of_given.untyped_data()) : nullptr;
  if (static_cast<int64_t>(stored.size_bytes()) != q.kept()) return invalid("what was stored has another size");

  // A current that is 0 at first and that no spike adds to stays 0. Its adjoint is then left out: it would tell only what
  // another start would do.
  const Line<T>* first_step = static_cast<const Line<T>*>(stored.untyped_data());
  for (Population<T>& p : q.populations) {
    if (p.kind == kTwoCurrents && !p.wanted) {
      p.one_current = all_zero(p.coefficients + kOwn + kOwnAdded, p.n, p.rows);
      for (int64_t group = 0; group < q.groups() && p.one_current; ++group)
        for (int64_t i = 0; i < p.n && p.one_current; ++i)
          p.one_current = all_zero(reinterpret_cast<const T*>(first_step + group * q.n_steps * q.lines + i * (p.n_vars + p.n_onto) + kFirst), kLanes<T>, 1);
    }
    first_step += p.n * (p.n_vars + p.n_onto);
  }

  // Sums over groups are put together in their order.
  std::vector<std::vector<Array<T>>> of_weight(q.groups());
  std::vector<std::vector<Array<Line<T>>>> of_coefficients(q.groups());
  share(pool, q.groups(), [&](int64_t group) {
    std::vector<T*> weights;
    std::vector<Line<T>*> coefficients;
    for (const Wire<T>& w : q.wires) {
      of_weight[group].emplace_back(w.edges.indptr[w.edges.n_pre]);
      weights.push_back(of_weight[group].back().get());
    }
    for (const Population<T>& p : q.populations) {
      of_coefficients[group].emplace_back(p.wanted ? p.n * p.rows : 0);
      coefficients.push_back(of_coefficients[group].back().get());
    }
    backward_group(q, group, stored.untyped_data(), weights, coefficients);
  });
  for (size_t k = 0; k < q.wires.size(); ++k) {
    const Wire<T>& w = q.wires[k];
    for (int64_t e = 0; e < w.edges.indptr[w.edges.n_pre]; ++e) {
      w.of_weight[e] = of_weight[0][k].get()[e];
      for (int64_t group = 1; group < q.groups(); ++group) w.of_weight[e] += of_weight[group][k].get()[e];
    }
  }
  for (size_t k = 0; k < q.populations.size(); ++k) {
    const Population<T>& p = q.populations[k];
    for (int64_t i = 0; p.wanted && i < p.n * p.rows; ++i) {
      T total = 0;
      for (int64_t group = 0; group < q.groups(); ++group) {
        const Line<T>& line = of_coefficients[group][k].get()[i];
        for (int64_t l = 0; l < kLanes<T>; ++l) total += line[l];
      }
      p.of_coefficients[i] = total;
    }
  }
  return ffi::Error::Success();
}

auto signature() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<ffi::Span<const int64_t>>("plan")
      .Attr<ffi::Span<const double>>("surrogates")
      .RemainingArgs()
      .RemainingRets();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_train_forward_f32, forward<float>, signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_train_forward_f64, forward<double>, signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_train_backward_f32, backward<float>, signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(connectofit_train_backward_f64, backward<double>, signature());

#endif
