#pragma once

// What happened on a processor, lately: a ring of events that its owner writes and anybody may read meanwhile.
//
// One thread writes at a time (the processor's holder, or whoever has the lock of a shared ring). It never waits, and writes
// over what is oldest. Argument that no reader takes an event for whole that was written over while it was read:
//   writer   N1 begun = n + 1   N2 the words of slot n mod capacity (release each)   N3 ended = n + 1 (release)
//   reader   T1 load ended (acquire): events below it are whole, or being written over   T2 the words (acquire each)
//            T3 load begun: event i counts if i + capacity >= begun
// By T1 and N3 each word that T2 loads is that of event i or of a later one in the same slot. If any is of a later one, j, then
// T2 has synchronised with N2 of j, so T3 sees its N1 or a later one: begun >= j + 1 > i + capacity, and event i is dropped.
// Nothing here is more than a plain load or store on x86-64.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace weft::detail {

enum class TraceKind : std::uint8_t {
  kSwitch,    // `who` begins to run here (0: nobody), after `other` has left (0: nobody, or not known any more)
  kTaken,     // the monitor takes the processor; `who` goes on without one, on thread `word`
  kComeHome,  // `who`, which had none, leaves thread `word`. In a shared ring
  kReady,     // `other` makes `who` ready
  kSpawn,     // `other` starts `who`, in the function at `word`
  kSteal,     // `who` is taken from the queue of processor `word`
  kName,      // a part of who's name, in `other` and `word`
  kLog,       // a part of a text that `who` logs, likewise
};

/// Why somebody has left (kSwitch, kComeHome): a WaitReason, or one of these. What has made ready or started (kReady, kSpawn): one of
/// the last four, or kByGoroutine. kName, kLog: which part.
struct TraceDetail {
  static constexpr std::uint8_t kNobody = 0;
  static constexpr std::uint8_t kByGoroutine = 0;
  static constexpr std::uint8_t kYielded = 0xf0;
  static constexpr std::uint8_t kEnded = 0xf1;
  static constexpr std::uint8_t kTaken = 0xf2;  // in the timeline only, as the next two
  static constexpr std::uint8_t kStillRuns = 0xf3;
  static constexpr std::uint8_t kGotProcessor = 0xf4;
  static constexpr std::uint8_t kByTimer = 0xf8;
  static constexpr std::uint8_t kByThread = 0xf9;  // `other` is the kernel's number of a thread that runs no goroutines
  static constexpr std::uint8_t kByRuntime = 0xfa;  // on the way from one goroutine to another: a commit
};

struct TraceEvent {
  std::int64_t ns = 0;  // steady
  TraceKind kind = TraceKind::kSwitch;
  std::uint8_t detail = 0;
  std::uint64_t who = 0;    // goroutine numbers; 48 bits
  std::uint64_t other = 0;  // likewise
  std::uint64_t word = 0;   // kSwitch: the address of who's Task::run
};

class TraceRing {
 public:
  static constexpr std::size_t kLeast = 16;  // events; a text of four parts is always whole or gone
  static constexpr std::size_t kMost = std::size_t{1} << 26U;

  /// At least so many events; untouched memory costs nothing. Throws std::bad_alloc.
  explicit TraceRing(std::size_t events)
      : capacity_(std::bit_ceil(events < kLeast ? kLeast : events)),
        words_(static_cast<std::uint64_t*>(std::calloc(capacity_ * kWords, sizeof(std::uint64_t)))) {
    if (words_ == nullptr) throw std::bad_alloc();
  }

  /// One caller at a time, each ordered after the one before.
  void put(const TraceEvent& event) noexcept {
    const std::uint64_t n = ended_.load(std::memory_order_relaxed);  // the writer's own
    begun_.store(n + 1, std::memory_order_relaxed);                  // N1: published by N2
    std::uint64_t* slot = &words_[(n % capacity_) * kWords];
    const std::uint64_t head = static_cast<std::uint64_t>(event.kind) << 56U |
                               static_cast<std::uint64_t>(event.detail) << 48U | (event.who & kLow48);
    store(slot[0], static_cast<std::uint64_t>(event.ns));
    store(slot[1], head);
    store(slot[2], event.other);
    store(slot[3], event.word);
    ended_.store(n + 1, std::memory_order_release);  // N3 [trace_ring.ended]
  }

  /// Appends what is there, oldest first. Returns how many were written before the first of those. Any thread. Throws
  /// std::bad_alloc.
  std::uint64_t read(std::vector<TraceEvent>& events) const {
    const std::uint64_t end = ended_.load(std::memory_order_acquire);  // T1 [trace_ring.ended]
    std::uint64_t first = end > capacity_ ? end - capacity_ : 0;
    const std::size_t before = events.size();
    events.reserve(before + static_cast<std::size_t>(end - first));
    for (std::uint64_t i = first; i != end; ++i) {
      std::uint64_t* slot = &words_[(i % capacity_) * kWords];
      const std::uint64_t ns = load(slot[0]);
      const std::uint64_t head = load(slot[1]);
      const std::uint64_t other = load(slot[2]);
      const std::uint64_t word = load(slot[3]);
      events.push_back({static_cast<std::int64_t>(ns), static_cast<TraceKind>(head >> 56U),
                        static_cast<std::uint8_t>(head >> 48U & 0xffU), head & kLow48, other, word});
    }
    const std::uint64_t begun = begun_.load(std::memory_order_relaxed);  // T3: ordered by the acquires of T2
    const std::uint64_t whole = begun > capacity_ ? begun - capacity_ : 0;
    if (whole > first) {
      const std::uint64_t torn = (whole < end ? whole : end) - first;
      const auto begin = events.begin() + static_cast<std::ptrdiff_t>(before);
      events.erase(begin, begin + static_cast<std::ptrdiff_t>(torn));
      first += torn;
    }
    return first;
  }
  [[nodiscard]] std::uint64_t written() const noexcept { return ended_.load(std::memory_order_acquire); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  static constexpr std::size_t kWords = 4;
  static constexpr std::uint64_t kLow48 = (std::uint64_t{1} << 48U) - 1;
  struct Free {
    void operator()(std::uint64_t* words) const noexcept { std::free(words); }
  };
  // [trace_ring.word]: the release of N2 pairs with the acquire of T2.
  static void store(std::uint64_t& word, std::uint64_t value) noexcept {
    std::atomic_ref<std::uint64_t>(word).store(value, std::memory_order_release);
  }
  static std::uint64_t load(std::uint64_t& word) noexcept {
    return std::atomic_ref<std::uint64_t>(word).load(std::memory_order_acquire);
  }

  const std::size_t capacity_;
  const std::unique_ptr<std::uint64_t[], Free> words_;
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> ended_{0};
};

/// Where a processor has its ring. It gets one when tracing starts for the first time, and a bigger one if more is asked for; none is
/// freed before the processor is, since its holder may be writing.
class TraceTrack {
 public:
  /// nullptr: nothing was ever asked for.
  [[nodiscard]] TraceRing* ring() const noexcept {
    return ring_.load(std::memory_order_acquire);  // pairs with the release below: the ring is made
  }
  /// Another trace begins: there is a ring of at least this size. One caller at a time. Throws std::bad_alloc.
  void provide(std::size_t events) {
    if (rings_.empty() || rings_.back()->capacity() < events) {
      rings_.push_back(std::make_unique<TraceRing>(events));
      ring_.store(rings_.back().get(), std::memory_order_release);  // [trace_track]
    }
    written_before_ = rings_.back()->written();
  }
  /// How many events its ring had then.
  [[nodiscard]] std::uint64_t written_before() const noexcept { return written_before_; }

 private:
  std::atomic<TraceRing*> ring_{nullptr};
  // The tracer's, under its lock.
  std::vector<std::unique_ptr<TraceRing>> rings_;
  std::uint64_t written_before_ = 0;
};

/// A text as events carry it.
struct TraceText {
  static constexpr std::size_t kPartBytes = 16;
  static constexpr std::size_t kMostBytes = 64;
  static constexpr std::size_t kMostParts = kMostBytes / kPartBytes;
};

}  // namespace weft::detail
