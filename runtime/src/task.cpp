#include "task.hpp"

namespace weft::detail {

TaskPool::~TaskPool() {
  for (Task* slab : slabs_) delete[] slab;
}

Task* TaskPool::grow(TaskCache& cache) {
  std::unique_ptr<Task[]> slab(new Task[kSlabTasks]);
  Chain<Task> chain;
  for (std::size_t i = kSlabTasks; i-- > 0;) chain.push(&slab[i]);
  {
    SpinGuard guard(lock_);
    slabs_.push_back(slab.get());
  }
  Task* first = chain.pop();
  cache.adopt(chain);
  static_cast<void>(slab.release());  // slabs_ owns it
  return first;
}

}  // namespace weft::detail
