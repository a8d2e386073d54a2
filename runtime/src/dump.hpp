#pragma once

// All goroutines of a runtime as text. Goroutines that wait alike (for the same reason, with the same stack, started in
// the same place) share one entry with their number, so that a million of them can be read.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "stack_text.hpp"
#include "traces.hpp"

namespace weft::detail {

/// Goroutines, sorted by what they do.
class Groups final : public TraceVisitor {
 public:
  void visit(const Trace& trace) override;
  /// "goroutine 7 "name" [chan receive, 3 minutes]:", its frames and who started it; an empty line between two entries. Once.
  [[nodiscard]] std::string text();
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// "3 goroutines: 1 running, 2 waiting".
  [[nodiscard]] std::string summary() const;

 private:
  static constexpr std::size_t kMostGroups = 10'000;  // that are kept
  static constexpr std::size_t kMostShown = 1'000;
  static constexpr std::size_t kMostIds = 8;

  struct Group {
    std::string name;
    FiberStatus status;
    WaitReason reason;
    bool is_durable;
    StackSeen seen;
    bool is_cut;
    const void* spawn_site;
    std::vector<const void*> pcs;
    std::uint64_t count = 0;
    std::vector<std::uint64_t> ids;  // the lowest few, in order
    std::int64_t shortest_ns = INT64_MAX;
    std::int64_t longest_ns = 0;

    [[nodiscard]] bool is_like(const Trace& trace) const noexcept;
    void take_over(const Group& other);
    [[nodiscard]] std::string title() const;
  };
  static std::uint64_t hash(const Trace& trace) noexcept;
  void merge_those_that_read_alike(StackText& stacks);

  std::unordered_multimap<std::uint64_t, std::size_t> index_;
  std::vector<Group> groups_;
  std::uint64_t count_ = 0;
  std::uint64_t left_out_ = 0;
  std::uint64_t running_ = 0;
  std::uint64_t waiting_ = 0;
};

}  // namespace weft::detail
