#pragma once

// Pool: objects that are dear to make and often needed for a short time.

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"

namespace weft {
namespace detail {

/// An object of a pool, behind this header.
struct PoolNode {
  PoolNode* next = nullptr;  // guarded by the lock of the shard that it lies in
};

/// The compiled half: a shelf for each processor, and one for plain threads. It moves nodes and knows no objects.
class PoolShelves {
 public:
  PoolShelves();
  ~PoolShelves();
  PoolShelves(const PoolShelves&) = delete;
  PoolShelves& operator=(const PoolShelves&) = delete;

  /// A node that was put; null if there is none.
  PoolNode* take() noexcept;
  void put(PoolNode* node) noexcept;
  /// One cycle of ageing: the chain of nodes that nobody has taken since the last one.
  [[nodiscard]] PoolNode* age() noexcept;
  /// Everything.
  [[nodiscard]] PoolNode* clear() noexcept;
  /// Whether an object that is given back is to be dropped: in chaos mode one in four.
  [[nodiscard]] static bool is_to_drop() noexcept;

 private:
  struct Shelf;
  [[nodiscard]] std::size_t own_shelf() const noexcept;
  const std::size_t count_;
  Shelf* const shelves_;
};

}  // namespace detail

/// Keeps objects that are not in use, for whoever needs one next. Each processor has a shelf of its own, so goroutines seldom
/// meet on a lock. An object comes back as it was given back: get() does not reset it.
///
/// What it holds, and for how long: objects are made only when no idle one is found, so there are about as many as were ever
/// in use at once, and those that were put(). The pool drops none by itself; call trim() now and then where the peak is not
/// the rule. (In chaos mode, WEFT_CHAOS, one in four is dropped when it is given back, so that nobody relies on getting a
/// certain one.) All objects are destroyed with the pool; handles must be gone by then.
///
/// Safe from: any number of goroutines and threads at once; so must be the factory. No lock is held while the factory or a
/// destructor runs: they may block, and use the pool. Ordering: giving an object back happens before the get() that returns it.
/// Go: sync.Pool, whose Put is the end of the handle here.
template <class T>
class Pool {
  struct Node : detail::PoolNode {
    template <class Make>
    explicit Node(const Make& make) : value(make()) {}
    T value;
  };

 public:
  /// An object on loan; like a std::unique_ptr. It gives the object back when it is destroyed.
  class Handle {
   public:
    /// Holds nothing.
    Handle() noexcept = default;
    Handle(Handle&& other) noexcept : pool_(other.pool_), node_(std::exchange(other.node_, nullptr)) {}
    Handle& operator=(Handle other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(node_, other.node_);
      return *this;
    }
    ~Handle() { reset(); }

    T& operator*() const noexcept { return node_->value; }
    T* operator->() const noexcept { return std::addressof(node_->value); }
    [[nodiscard]] T* get() const noexcept { return node_ == nullptr ? nullptr : std::addressof(node_->value); }
    explicit operator bool() const noexcept { return node_ != nullptr; }

    /// Gives the object back now.
    void reset() noexcept {
      if (node_ != nullptr) pool_->give_back(std::exchange(node_, nullptr));
    }
    /// Destroys the object instead of giving it back.
    void discard() noexcept { delete std::exchange(node_, nullptr); }

   private:
    friend class Pool;
    Handle(Pool& pool, Node* node) noexcept : pool_(&pool), node_(node) {}
    Pool* pool_ = nullptr;
    Node* node_ = nullptr;
  };

  /// Makes objects as T().
  Pool()
    requires std::default_initializable<T>
      : Pool([] { return T(); }) {}
  /// Makes objects by calling the factory, which returns a T.
  template <class Factory>
    requires(!std::same_as<std::remove_cvref_t<Factory>, Pool> && std::is_invocable_r_v<T, std::decay_t<Factory>&>)
  explicit Pool(Factory&& factory) : maker_(new MakerOf<std::decay_t<Factory>>(std::forward<Factory>(factory))) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { destroy(shelves_.clear()); }

  /// An object that was given back, any one of them; else a new one. Throws: what the factory throws; std::bad_alloc.
  /// Cost: a short lock, nearly always one's own; one allocation for a new object.
  [[nodiscard]] Handle get() {
    if (detail::PoolNode* node = shelves_.take()) return Handle(*this, static_cast<Node*>(node));
    return Handle(*this, maker_->make());
  }

  /// Adds an object from elsewhere.
  void put(T value)
    requires std::move_constructible<T>
  {
    give_back(new Node([&value]() -> T { return std::move(value); }));
  }

  /// One cycle of ageing: destroys the objects that nobody has taken since the last call of trim(). So an object that is
  /// given back is still there after one call, and gone after two. Go: what a garbage collection does to a sync.Pool.
  void trim() { destroy(shelves_.age()); }

 private:
  struct Maker {
    virtual ~Maker() = default;
    virtual Node* make() = 0;
  };
  template <class Factory>
  struct MakerOf final : Maker {
    template <class From>
    explicit MakerOf(From&& from) : factory(std::forward<From>(from)) {}
    Node* make() override {
      return new Node([this]() -> T { return factory(); });
    }
    Factory factory;
  };

  void give_back(Node* node) noexcept {
    if (detail::PoolShelves::is_to_drop()) return delete node;
    shelves_.put(node);
  }
  static void destroy(detail::PoolNode* chain) noexcept {
    while (chain != nullptr) delete static_cast<Node*>(std::exchange(chain, chain->next));
  }

  const std::unique_ptr<Maker> maker_;
  detail::PoolShelves shelves_;
};

}  // namespace weft
