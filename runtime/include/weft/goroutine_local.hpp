#pragma once

// GoroutineLocal: a variable of which each goroutine has an instance of its own.

#include <cstdint>
#include <memory>
#include <type_traits>

namespace weft {
namespace detail {

/// An instance that some goroutine or thread has made: in a list, the newest first.
struct LocalNode {
  LocalNode* next = nullptr;
  std::uint64_t key = 0;
  void (*destroy)(LocalNode* self) noexcept = nullptr;
};

/// A number that no other variable has or will have: an address would come back with the next object that is put there.
std::uint64_t take_local_key() noexcept;
/// Of the calling goroutine or thread; nullptr: it has none yet.
LocalNode* find_local(std::uint64_t key) noexcept;
void add_local(LocalNode* node) noexcept;
/// The calling goroutine's, all of them.
void destroy_locals() noexcept;

}  // namespace detail

/// A variable of which each goroutine has its own instance: default-constructed when the goroutine first asks for it,
/// destroyed when the goroutine ends (the newest first), on the goroutine's own stack and before it counts as ended;
/// also if it ends by exit_goroutine, or by an exception once RuntimeOptions::on_uncaught has returned. It stays with its
/// goroutine wherever that runs. A plain thread has an instance too, destroyed when the thread ends.
///
/// T's constructor and destructor may block and may use other GoroutineLocals. An instance that is asked for again after
/// it was destroyed is made anew, and destroyed in its turn. WaitGroup::go calls done() before the locals are destroyed;
/// Runtime::run returns after its function's were. Goroutines that a destroyed runtime abandons leave theirs undestroyed,
/// as they do everything on their stacks.
///
/// The GoroutineLocal itself may be destroyed at any time: instances live on until their goroutines end.
/// Go has none of this on purpose (pass a Context instead); it is here for C++ code written around thread_local, which
/// must not be used across anything that blocks.
template <class T>
  requires std::is_default_constructible_v<T>
class GoroutineLocal {
 public:
  GoroutineLocal() noexcept : key_(detail::take_local_key()) {}
  GoroutineLocal(const GoroutineLocal&) = delete;
  GoroutineLocal& operator=(const GoroutineLocal&) = delete;

  /// The caller's instance; the reference is good until the goroutine (or thread) ends, and for that goroutine alone.
  /// Blocks: never, unless T's constructor does. Safe from: goroutines and threads, all at once.
  /// Throws: std::bad_alloc and what T's constructor throws, on first use; the next call tries again.
  /// Cost: O(how many GoroutineLocals the goroutine has used); allocates on first use.
  T& get() {
    if (detail::LocalNode* node = detail::find_local(key_)) return static_cast<Instance*>(node)->value;
    auto made = std::make_unique<Instance>();  // may block, and so return on another thread
    made->key = key_;
    made->destroy = &destroy;
    Instance* instance = made.release();
    detail::add_local(instance);
    return instance->value;
  }

 private:
  struct Instance : detail::LocalNode {
    T value{};
  };
  static void destroy(detail::LocalNode* node) noexcept { delete static_cast<Instance*>(node); }

  const std::uint64_t key_;
};

}  // namespace weft
