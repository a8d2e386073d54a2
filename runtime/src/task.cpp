#include "task.hpp"

#include <algorithm>
#include <utility>

namespace weft::detail {

static_assert(alignof(Task) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

TaskPool::~TaskPool() {
  for (Task* slab : slabs_) std::destroy_n(slab, kSlabTasks);
}

Task* TaskPool::grow(TaskCache& cache) {
  Task* const slab = add_slab();
  Chain<Task> chain;
  for (std::size_t i = kSlabTasks; i-- > 0;) chain.push(slab + i);
  Task* first = chain.pop();
  cache.adopt(chain);
  return first;
}

Task* TaskPool::add_slab() {
  Block fresh;
  for (;;) {
    std::size_t wanted = 0;
    {
      SpinGuard guard(lock_);
      if (!has_room() && fresh.memory != nullptr) blocks_.push_back(std::move(fresh));
      if (has_room()) {
        Block& block = blocks_.back();
        slabs_.push_back(reinterpret_cast<Task*>(block.memory.get() + block.used * kSlabBytes));
        ++block.used;
        std::uninitialized_default_construct_n(slabs_.back(), kSlabTasks);
        return slabs_.back();
      }
      wanted = std::clamp(slabs_.size(), std::size_t{1}, kMostSlabs);  // so blocks double
    }
    fresh = {std::make_unique_for_overwrite<std::byte[]>(wanted * kSlabBytes), wanted, 0};
  }
}

}  // namespace weft::detail
