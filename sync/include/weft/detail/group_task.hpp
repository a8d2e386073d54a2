#pragma once

// What the go() of a WaitGroup or an ErrGroup starts: a function that is gone, with its captures, before the group hears of
// its end. It is destroyed where it is: to move it away would leave its const captures behind.

#include <memory>
#include <type_traits>
#include <utility>

namespace weft::detail {

template <class Group, class F>
class GroupTask {
 public:
  template <class From>
  GroupTask(Group& group, From&& f) : group_(&group), f_(std::forward<From>(f)) {}
  GroupTask(GroupTask&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
      : group_(other.group_), f_(std::move(other.f_)) {}
  GroupTask(const GroupTask&) = delete;
  GroupTask& operator=(const GroupTask&) = delete;
  GroupTask& operator=(GroupTask&&) = delete;
  ~GroupTask() {
    if (group_ != nullptr) std::destroy_at(&f_);
  }

 protected:
  [[nodiscard]] Group& group() noexcept { return *group_; }
  [[nodiscard]] F&& function() noexcept { return std::move(f_); }
  /// Destroys the function; the group is to hear of it next.
  Group& end() {
    Group* group = std::exchange(group_, nullptr);
    std::destroy_at(&f_);
    return *group;
  }

 private:
  Group* group_;  // nullptr: f_ has been destroyed
  union {
    F f_;
  };
};

}  // namespace weft::detail
