// Selector, compiled half: it keeps the cases and hands those that are enabled to run_select, as if they stood in a select
// statement.
//
// Invariants
//   S1 scratch_ and indices_ have room for every case and one more (the default of try_select): selecting allocates nothing.
//   S2 What run_select works on is a fresh copy of each entry: nothing of one select is left for the next.
//   S3 When a handler runs, no reference into items_ or scratch_ is held: it may add cases, or select, on the same
//      Selector. Cases themselves do not move and are not removed.
//   S4 The bookkeeping of a win is done before its handler runs, which may throw.
// Only the goroutine that selects touches a Selector. The peers of a parked select reach the entries in scratch_ and the
// slots in the cases, under the rules of select.cpp.
// Answers to Go's reflect.Select.

#include "weft/selector.hpp"

#include <cstdint>
#include <cstring>
#include <vector>

#include "weft/detail/chan_core.hpp"
#include "weft/error.hpp"

namespace weft {
namespace detail {

void take_received(const ElementType& type, const SelectEntry& won, void* to, void* from) noexcept {
  if (won.status != ChanStatus::ok) return;
  if (type.is_trivial()) {
    std::memcpy(to, from, type.size);
    return;
  }
  type.move(to, from);
  type.destroy(from);
}

class SelectorCases {
 public:
  static constexpr std::size_t kMost = 65'536;
  static constexpr std::size_t kNothing = SIZE_MAX;

  SelectorCases() = default;
  SelectorCases(const SelectorCases&) = delete;
  SelectorCases& operator=(const SelectorCases&) = delete;
  ~SelectorCases() {
    for (Item& item : items_) {
      item.object.reset();
      if (item.entry.chan != nullptr) item.entry.chan->release();
    }
  }

  std::size_t add(std::unique_ptr<SelectorCase> added);
  std::size_t run(bool may_wait);

  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
  [[nodiscard]] SelectorCase& object(std::size_t index) noexcept { return *items_[index].object; }
  [[nodiscard]] bool is_spent(std::size_t index) const noexcept { return items_[index].supply == Supply::kSpent; }
  void set_enabled(std::size_t index, bool is_enabled) noexcept { items_[index].is_enabled = is_enabled; }
  void set_supply(std::size_t index, Supply supply) noexcept { items_[index].supply = supply; }

 private:
  struct Item {
    std::unique_ptr<SelectorCase> object;
    SelectEntry entry;  // its channel is counted
    Supply supply;
    bool is_enabled = true;
  };

  void gather(bool may_wait);
  void add_entry(const SelectEntry& entry, std::size_t index) {
    scratch_.push_back(entry);
    indices_.push_back(index);
  }

  std::vector<Item> items_;
  std::vector<SelectEntry> scratch_;  // the enabled cases, while a select runs
  std::vector<std::size_t> indices_;  // which case each of them is
};

std::size_t SelectorCases::add(std::unique_ptr<SelectorCase> added) {
  const std::size_t index = items_.size();
  if (const std::size_t wanted = index + 2; scratch_.capacity() < wanted) {
    scratch_.reserve(2 * wanted);
    indices_.reserve(2 * wanted);
  }
  const SelectEntry entry = added->entry();
  const Supply supply = added->initial_supply();
  items_.push_back({std::move(added), entry, supply});
  if (entry.chan != nullptr) entry.chan->retain();
  return index;
}

/// Puts the entries of the enabled cases into scratch_, and a default behind them if one is needed so as not to wait.
void SelectorCases::gather(bool may_wait) {
  scratch_.clear();
  indices_.clear();
  bool needs_default = !may_wait;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    if (!item.is_enabled) continue;
    if (item.supply == Supply::kRefill) {
      item.object->refill();
      item.supply = Supply::kReady;
    }
    const bool goes_at_once =
        item.entry.kind == CaseKind::kDefault || (item.entry.kind == CaseKind::kTimeout && item.entry.timeout_ns <= 0);
    if (goes_at_once) needs_default = false;
    add_entry(item.entry, i);
  }
  if (scratch_.size() > kMost) throw_panic("weft: Selector: too many cases (max 65536)");
  if (needs_default) add_entry({.kind = CaseKind::kDefault}, kNothing);
}

std::size_t SelectorCases::run(bool may_wait) {
  gather(may_wait);
  const std::size_t chosen = run_select(scratch_.data(), scratch_.size());
  const std::size_t index = indices_[chosen];
  if (index == kNothing) return index;
  const SelectEntry won = scratch_[chosen];
  SelectorCase& object = *items_[index].object;
  if (won.kind == CaseKind::kSend) {
    items_[index].supply = object.settle();
    if (is_spent(index)) items_[index].is_enabled = false;
  }
  object.fire(won);
  return index;
}

namespace {

/// The cases of a Selector that has one with this index.
SelectorCases& checked(const std::unique_ptr<SelectorCases>& cases, std::size_t index, const char* complaint) {
  if (cases == nullptr || index >= cases->size()) throw_panic(complaint);
  return *cases;
}

}  // namespace
}  // namespace detail

Selector::Selector() noexcept = default;
Selector::Selector(Selector&& other) noexcept = default;
Selector& Selector::operator=(Selector&& other) noexcept = default;
Selector::~Selector() = default;

std::size_t Selector::add_case(std::unique_ptr<detail::SelectorCase> added) {
  if (cases_ == nullptr) cases_ = std::make_unique<detail::SelectorCases>();
  return cases_->add(std::move(added));
}

detail::SelectorCase& Selector::sender(std::size_t index, const detail::ElementType& type) {
  detail::SelectorCase& found =
      detail::checked(cases_, index, "weft: Selector::set_value: there is no case with this index").object(index);
  const detail::ElementType* sends = found.sends();
  if (sends == nullptr) detail::throw_panic("weft: Selector::set_value: the case does not send");
  if (sends != &type) detail::throw_panic("weft: Selector::set_value: the case sends values of another type");
  return found;
}

void Selector::supply(std::size_t index, detail::Supply supply) noexcept {
  cases_->set_supply(index, supply);
  cases_->set_enabled(index, true);
}

void Selector::disable(std::size_t index) {
  detail::checked(cases_, index, "weft: Selector::disable: there is no case with this index").set_enabled(index, false);
}

void Selector::enable(std::size_t index) {
  detail::SelectorCases& cases =
      detail::checked(cases_, index, "weft: Selector::enable: there is no case with this index");
  if (cases.is_spent(index)) {
    detail::throw_panic("weft: Selector::enable: the case has sent its value, which cannot be copied; use set_value");
  }
  cases.set_enabled(index, true);
}

std::size_t Selector::size() const noexcept { return cases_ == nullptr ? 0 : cases_->size(); }

std::size_t Selector::select() {
  return cases_ == nullptr ? detail::run_select(nullptr, 0) : cases_->run(/*may_wait=*/true);
}

std::optional<std::size_t> Selector::try_select() {
  if (cases_ == nullptr) return std::nullopt;
  const std::size_t index = cases_->run(/*may_wait=*/false);
  if (index == detail::SelectorCases::kNothing) return std::nullopt;
  return index;
}

}  // namespace weft
