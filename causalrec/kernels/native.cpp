// The fused scan: every item's three dot products, score and place among the best in one pass over memory.
// Called through ctypes (compiled.py); causalrec.equations says what is computed, tests hold the two together.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

enum Form : int32_t { PAPER = 0, AUTHORS = 1, ADDITIVE = 2, SUM = 3 };

// Whether the score needs a and b by themselves, and not only their sum (`APART` of causalrec.equations).
inline bool apart(Form form) { return form == PAPER || form == SUM; }

#define ALWAYS static inline __attribute__((always_inline))

const int64_t TILE_BYTES = 256 * 1024;
const int64_t PREFETCHED = 2;  // blocks ahead
const int PARTS = 3;
const int WAITING = 16;  // items of a user scored together

// What an item's parts are: SHARED [γ; e] with one e for match and notice, SPLIT [γ; e; e_match], SUMMED
// [γ∘(1+e_match); e] where the score needs only the match's sum a + b.
enum Parts { SHARED, SPLIT, SUMMED };
#define PARTS_OF(parts) ((parts) == SPLIT ? 3 : 2)

struct Items {
  const float *values;  // [blocks, width, parts, 16]
  int64_t count, width, parts;
  Form form;
  int64_t block_floats() const { return 16 * width * parts; }
};

// Users, and the probes of each: one per λ2 asked for.
struct Users {
  int64_t count;
  const float *vectors;   // [count, 2, width]: for the match, for the notice
  const float *nulls;     // [count]
  const int64_t *probes;  // [count + 1]: the probes of user u are probes[u] … probes[u + 1]
  const float *lambda2;   // [probes]
};

struct Hit {
  float score;
  int64_t row;
};

// Keeps every hit that can still be among the k best: within `margin` of the k-th best so far.
struct Collector {
  float least;  // hits below it are out
  float margin;
  int64_t k, items;
  const int64_t *excluded_begin, *excluded_end;
  size_t room;
  std::vector<Hit> hits;

  void add(float score, int64_t row) {
    if (!(score >= least) || row >= items || std::binary_search(excluded_begin, excluded_end, row)) return;
    hits.push_back({score, row});
    if (hits.size() >= room) tighten();
  }

  void tighten() {
    if (k <= 0) hits.clear();
    if (static_cast<int64_t>(hits.size()) <= k) return;
    std::nth_element(hits.begin(), hits.begin() + (k - 1), hits.end(),
                     [](const Hit &x, const Hit &y) { return x.score > y.score; });
    least = std::max(least, hits[k - 1].score - margin);
    float limit = least;
    hits.erase(std::remove_if(hits.begin(), hits.end(), [limit](const Hit &hit) { return hit.score < limit; }),
               hits.end());
    room = std::max(room, hits.size() + hits.size() / 8 + 8);
  }
};

// Items as 8-bit codes: item ≈ scale·(code − 128) in every dimension. Parts (match, visual match, notice) of one width.
struct Codes {
  const uint8_t *codes;                      // [blocks, parts·part_groups, 16, 4]
  const float *scales, *residuals, *sizes;  // [blocks·16]: scale, length of what the codes miss, length of what they say
  int64_t count, parts, part_groups;
  int64_t groups() const { return parts * part_groups; }
};

// Where the codes of items are written, and by what each dimension is divided first.
struct Coding {
  uint8_t *codes;
  float *scales, *residuals, *sizes;
  const float *unit;  // [parts, 4·part_groups]
  int64_t parts, part_groups;
  float spare;  // of an item's length: what rounding may take
};

struct CodedUsers {
  const int32_t *packed;  // [users, groups], four signed bytes each
  const int32_t *shifts;  // [users, parts]: 128 times the sum of the bytes, because codes are unsigned
};

// Items as the bundle has them, one row each, for the few that pass the sieve.
struct Rows {
  const float *gamma, *e, *e_match;  // [count, dim]
  int64_t count, dim, width;         // width: of a user's half
  Form form;

  void prefetch(int64_t row) const {
    for (int64_t d = 0; d < dim; d += 16) {
      __builtin_prefetch(gamma + row * dim + d);
      __builtin_prefetch(e + row * dim + d);
    }
  }
};

// One probe of the sieve. An item that scores at least τ has an inner product with the probe's plane of at least
// offset + τ, or + log τ; the codes give the product up to norm·(item's residual) + residual·(item's size).
struct Sieve {
  Collector collector;
  float weights[PARTS];  // of the parts' sums
  float norm, residual;
  double offset;
  bool logarithmic;
  float line;

  void draw() {
    double tau = collector.least;
    if (logarithmic && tau <= 0)
      line = -std::numeric_limits<float>::infinity();  // proves nothing: every item is scored
    else
      line = static_cast<float>(offset + (logarithmic ? std::log(tau) : tau));
  }

  void give_up() { line = std::numeric_limits<float>::infinity(); }

  void pass(float score, int64_t row) {
    float before = collector.least;
    collector.add(score, row);
    if (collector.least != before) draw();
  }
};

// A user's items that passed at some λ2 and are on their way from memory.
struct Waiting {
  int64_t rows[WAITING];
  int64_t scored;
  int count;

  bool add(int64_t row) {
    rows[count++] = row;
    return count == WAITING;
  }

  // The codes rule out too little: reading every vector in a row is cheaper.
  bool hopeless(int64_t items) const { return scored > items / 24 + 4096; }
};

}  // namespace

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512,avx512vnni")
#define ISA v4
#define ISA_LEVEL 4
#include "blocks.inc"
#undef ISA
#undef ISA_LEVEL
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define ISA v3
#define ISA_LEVEL 3
#include "blocks.inc"
#undef ISA
#undef ISA_LEVEL
#pragma GCC pop_options
#endif
#define ISA base
#define ISA_LEVEL 1
#include "blocks.inc"

namespace {
int best_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512vnni")) return 4;
  if (__builtin_cpu_supports("x86-64-v3")) return 3;
#endif
  return 1;
}

std::vector<Collector> collect(const Users &users, int64_t items, const float *least, const float *margin,
                               const int64_t *k, const int64_t *excluded_starts, const int64_t *excluded) {
  std::vector<Collector> collectors;
  for (int64_t u = 0; u < users.count; u++)
    for (int64_t p = users.probes[u]; p < users.probes[u + 1]; p++) {
      bool everything = k[p] >= items;  // nothing to drop: what reaches `least` is kept
      size_t room = everything ? std::numeric_limits<size_t>::max() : k[p] + k[p] / 8 + 8;
      collectors.push_back({least[p], margin[p], k[p], items, excluded + excluded_starts[u],
                            excluded + excluded_starts[u + 1], room, {}});
    }
  return collectors;
}

void *found(std::vector<Collector> &collectors, int64_t *counts) {
  auto *hits = new std::vector<Hit>();
  for (Collector &collector : collectors) {
    collector.tighten();
    *counts++ = static_cast<int64_t>(collector.hits.size());
    hits->insert(hits->end(), collector.hits.begin(), collector.hits.end());
  }
  return hits;
}
}  // namespace

extern "C" {

int32_t causalrec_level() { return best_level(); }

// Both return what was found, for causalrec_take; counts [probes] says how much for each.
void *causalrec_scan(int32_t level, const float *values, int64_t items, int64_t width, int64_t parts, int32_t form,
                     int64_t users, const float *vectors, const float *nulls, const int64_t *probes,
                     const float *lambda2, const float *least, const float *margin, const int64_t *k,
                     const int64_t *excluded_starts, const int64_t *excluded, int64_t *counts) {
  Items all{values, items, width, parts, static_cast<Form>(form)};
  Users asked{users, vectors, nulls, probes, lambda2};
  std::vector<Collector> collectors = collect(asked, items, least, margin, k, excluded_starts, excluded);
#if defined(__x86_64__)
  if (level >= 4)
    v4::scan(all, asked, collectors.data());
  else if (level >= 3)
    v3::scan(all, asked, collectors.data());
  else
#endif
    base::scan(all, asked, collectors.data());
  return found(collectors, counts);
}

// Lays items, one row each, into blocks; biases, where there are any, become one more dimension.
void causalrec_lay(const float *gamma, const float *e, const float *e_match, const float *beta,
                   const float *visual_bias, int64_t items, int64_t dim, int64_t width, int64_t parts, int32_t form,
                   float *values) {
  for (int64_t row = 0; row < items; row++) {
    float *at = values + row / 16 * 16 * width * parts + row % 16;
    const float *g = gamma + row * dim, *n = e + row * dim, *m = e_match + row * dim;
    for (int64_t d = 0; d < dim; d++, at += 16 * parts) {
      float product = g[d] * m[d];
      at[0] = apart(static_cast<Form>(form)) ? g[d] : g[d] + product;
      at[16] = n[d];
      if (parts == 3) at[32] = m[d];
    }
    if (beta) at[0] = beta[row];
    if (visual_bias) at[16] = visual_bias[row];
  }
}

// Codes of every item, as codes.py describes them, from its block; returns the greatest length of one, in units.
float causalrec_encode(int32_t level, const float *values, int64_t items, int64_t width, int64_t item_parts,
                       int32_t form, const float *unit, int64_t parts, int64_t part_groups, float spare,
                       uint8_t *codes, float *scales, float *residuals, float *sizes) {
  Items all{values, items, width, item_parts, static_cast<Form>(form)};
  Coding coding{codes, scales, residuals, sizes, unit, parts, part_groups, spare};
#if defined(__x86_64__)
  if (level >= 4) return v4::encode(all, coding);
  if (level >= 3) return v3::encode(all, coding);
#endif
  return base::encode(all, coding);
}

void *causalrec_sift(int32_t level, const uint8_t *codes, const float *scales, const float *residuals,
                     const float *sizes, int64_t items, int64_t parts, int64_t part_groups, const float *gamma,
                     const float *e, const float *e_match, int64_t dim, int64_t width, int32_t form,
                     int64_t users, const float *vectors, const float *nulls, const int64_t *probes,
                     const float *lambda2, const float *least, const float *margin, const int64_t *k,
                     const int64_t *excluded_starts, const int64_t *excluded, const int32_t *packed,
                     const int32_t *shifts, const float *weights, const float *norms, const float *query_residuals,
                     const double *offsets, int64_t *counts, int64_t *scored) {
  Codes all{codes, scales, residuals, sizes, items, parts, part_groups};
  Rows rows{gamma, e, e_match, items, dim, width, static_cast<Form>(form)};
  Users asked{users, vectors, nulls, probes, lambda2};
  CodedUsers coded{packed, shifts};
  std::vector<Collector> collectors = collect(asked, items, least, margin, k, excluded_starts, excluded);
  std::vector<Sieve> sieves(collectors.size());
  std::vector<Waiting> waiting(users);
  for (size_t p = 0; p < sieves.size(); p++) {
    Sieve &sieve = sieves[p];
    sieve.collector = std::move(collectors[p]);
    for (int64_t part = 0; part < parts; part++) sieve.weights[part] = weights[p * parts + part];
    sieve.norm = norms[p], sieve.residual = query_residuals[p], sieve.offset = offsets[p];
    sieve.logarithmic = rows.form == PAPER;
    sieve.draw();
  }
#if defined(__x86_64__)
  if (level >= 4)
    v4::sift(all, rows, asked, coded, waiting.data(), sieves.data());
  else if (level >= 3)
    v3::sift(all, rows, asked, coded, waiting.data(), sieves.data());
  else
#endif
    base::sift(all, rows, asked, coded, waiting.data(), sieves.data());
  for (int64_t u = 0; u < users; u++) scored[u] = waiting[u].hopeless(items) ? -1 : waiting[u].scored;
  for (size_t p = 0; p < sieves.size(); p++) collectors[p] = std::move(sieves[p].collector);
  return found(collectors, counts);
}

void causalrec_take(void *found, int64_t *rows, float *scores) {
  auto *hits = static_cast<std::vector<Hit> *>(found);
  for (const Hit &hit : *hits) *rows++ = hit.row, *scores++ = hit.score;
  delete hits;
}
}
