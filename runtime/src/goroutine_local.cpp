// Lists of instances: one for each goroutine that has used a GoroutineLocal, one for each such thread.
//
// A list is touched only by its owner. Whose it is is asked anew for each step, since constructors and destructors in
// between may block, and a goroutine that blocks may come back on another thread.

#include "weft/goroutine_local.hpp"

#include <atomic>

#include "worker.hpp"

namespace weft::detail {
namespace {

std::atomic<std::uint64_t> next_key{1};

/// Good until the caller next blocks.
LocalNode*& list_of_caller() noexcept {
  Worker* worker = current_worker();
  // Between two goroutines a worker is a thread like any other.
  if (worker == nullptr || worker->current == &worker->root) return locals_of_thread();
  return worker->current->locals;
}

}  // namespace

std::uint64_t take_local_key() noexcept { return next_key.fetch_add(1, std::memory_order_relaxed); }  // counter

LocalNode* find_local(std::uint64_t key) noexcept {
  LocalNode* node = list_of_caller();
  while (node != nullptr && node->key != key) node = node->next;
  return node;
}

void add_local(LocalNode* node) noexcept {
  LocalNode*& list = list_of_caller();
  node->next = list;
  list = node;
}

void destroy_locals() noexcept {
  for (;;) {
    LocalNode*& list = list_of_caller();
    LocalNode* node = list;
    if (node == nullptr) return;
    list = node->next;  // first: a destructor that asks for its own variable gets a new instance
    node->destroy(node);
  }
}

}  // namespace weft::detail
