#pragma once

// SyncMap: a map that goroutines and threads share.
//
// Keys are spread over shards by their hash; a shard is a table under a lock. What the table holds are entries: a key with
// its value, immutable, counted. To change a value is to put another entry in the old one's place.
//   M1 No code of the user's runs under a lock: not hash, not equality, not a copy, a move or a destructor. The table is
//      keyed by the hash's number. Whoever looks for a key takes the entries with its hash out (a copy of the pointers),
//      compares without the lock, and takes the lock again to change something.
//   M2 A change applies only if the entries with that hash are still the ones that were compared; else it starts again.
//      They are held meanwhile, so an equal pointer is the same entry. The instant of the change, or of the look that found
//      what was returned, is the operation's.
//   M3 What leaves the table is destroyed after the unlock.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "weft/detail/platform.hpp"
#include "weft/mutex.hpp"

namespace weft {
namespace detail {

/// std::lock_guard without <mutex>.
class MutexGuard {
 public:
  explicit MutexGuard(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
  ~MutexGuard() { mutex_.unlock(); }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace detail

/// A map whose calls are safe from any goroutine or thread at once, also from within the code of the user's that it calls
/// (hash, equality, copies, destructors, the function of range). Values are returned as copies, so that nothing refers
/// into the map; where copies are dear, let V be a std::shared_ptr. A default-constructed map is empty. Whoever reads a value
/// sees what its writer did before (MAP-2).
///
/// Blocks: while another goroutine is inside a few table operations of the same shard. Throws: std::bad_alloc, and what
/// copying, hashing and comparing throw; the map is then as it was, unless it is the copy of a result that throws.
/// Cost: O(1) on average, as std::unordered_map; one allocation for each value that is stored, one more for a new key.
/// Go: sync.Map. Like it, it is for maps that are read much more than written, or whose users work on different keys.
template <std::copy_constructible K, std::copy_constructible V, class Hash = std::hash<K>,
          class Equal = std::equal_to<K>>
class SyncMap {
 public:
  SyncMap() = default;
  explicit SyncMap(Hash hash, Equal equal = Equal()) : hash_(std::move(hash)), equal_(std::move(equal)) {}
  SyncMap(const SyncMap&) = delete;
  SyncMap& operator=(const SyncMap&) = delete;

  /// A copy of the key's value; nothing if the key is not there. Go: Load.
  [[nodiscard]] std::optional<V> load(const K& key) const { return value_of(Found(*this, key).entry()); }
  [[nodiscard]] bool contains(const K& key) const { return Found(*this, key).entry() != nullptr; }

  /// Go: Store.
  void store(K key, V value) { static_cast<void>(exchange(std::move(key), std::move(value))); }

  /// Stores the value and returns the one it replaces, if there was one. Go: Swap.
  std::optional<V> swap(K key, V value) { return value_of(exchange(std::move(key), std::move(value))); }

  /// The key's value and true; if the key is not there, stores `value` and returns it and false. Of several callers at once
  /// exactly one stores. Go: LoadOrStore.
  std::pair<V, bool> load_or_store(K key, V value) {
    EntryPtr made;
    for (Found found(*this, key);; found.look_again()) {
      if (found.entry() != nullptr) return {found.entry()->value, true};
      if (made == nullptr) made = make(key, std::move(value));
      if (found.replace(made)) return {made->value, false};
    }
  }

  /// Removes the key and returns its value, if it was there. Go: LoadAndDelete.
  std::optional<V> load_and_delete(const K& key) { return value_of(remove(key)); }

  /// True if the key was there. Go: Delete.
  bool erase(const K& key) { return remove(key) != nullptr; }

  /// Stores `desired` if the key is there and its value equals `expected`. Go: CompareAndSwap.
  bool compare_and_swap(const K& key, const V& expected, V desired)
    requires std::equality_comparable<V>
  {
    EntryPtr made;
    for (Found found(*this, key);; found.look_again()) {
      if (found.entry() == nullptr || !(found.entry()->value == expected)) return false;
      if (made == nullptr) made = make(found.entry()->key, std::move(desired));
      if (found.replace(made)) return true;
    }
  }

  /// Removes the key if it is there and its value equals `expected`. Go: CompareAndDelete.
  bool compare_and_delete(const K& key, const V& expected)
    requires std::equality_comparable<V>
  {
    for (Found found(*this, key);; found.look_again()) {
      if (found.entry() == nullptr || !(found.entry()->value == expected)) return false;
      if (found.replace(nullptr)) return true;
    }
  }

  /// Calls f(key, value) for each key, at most once each, until f returns false (or never, if it returns nothing). What is
  /// there all along is visited; of what changes meanwhile, some state during the call. f may call anything, on this map
  /// too. Cost: O(n), and the entries of one shard at a time are held. Go: Range.
  template <class F>
    requires std::invocable<F&, const K&, const V&>
  void range(F f) const {
    for (Shard& shard : shards_) {
      std::vector<EntryPtr> entries;
      for (std::size_t wanted = 0; !shard.copy_to(entries, wanted);) entries.reserve(wanted);
      for (const EntryPtr& entry : entries) {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, const K&, const V&>>) {
          f(entry->key, entry->value);
        } else {
          if (!f(entry->key, entry->value)) return;
        }
      }
    }
  }

  /// Removes everything there is at one instant. Go: Clear.
  void clear() {
    std::array<Table, kShards> old;
    const AllLocked all(*this);
    for (std::size_t i = 0; i < kShards; ++i) old[i].swap(shards_[i].table);
  }

  /// How many keys there are at one instant. Go has no such call.
  [[nodiscard]] std::size_t size() const {
    const AllLocked all(*this);
    std::size_t n = 0;
    for (const Shard& shard : shards_) n += shard.table.size();
    return n;
  }

 private:
  struct Entry {
    Entry(K&& k, V&& v) : key(std::move(k)), value(std::move(v)) {}
    K key;
    V value;
  };
  using EntryPtr = std::shared_ptr<const Entry>;

  struct Same {
    std::size_t operator()(std::size_t hash) const noexcept { return hash; }
  };
  using Table = std::unordered_multimap<std::size_t, EntryPtr, Same>;  // by the hash of the key

  struct alignas(detail::kCacheLine) Shard {
    Mutex lock;
    Table table;  // guarded by lock

    /// False: there are more than fit, `wanted` are needed.
    bool copy_to(std::vector<EntryPtr>& out, std::size_t& wanted) {
      const detail::MutexGuard guard(lock);
      wanted = table.size();
      if (wanted > out.capacity()) return false;
      for (const auto& item : table) out.push_back(item.second);
      return true;
    }
  };

  static constexpr std::size_t kShards = 32;

  /// The entries that have a key's hash, as they are at some instant, and which of them is the key's.
  class Found {
   public:
    Found(const SyncMap& map, const K& key) : map_(map), key_(key), hash_(map.hash_(key)), shard_(map.shard_of(hash_)) {
      look_again();
    }
    Found(const Found&) = delete;
    Found& operator=(const Found&) = delete;

    void look_again() {
      match_ = nullptr;
      others_.clear();
      take();
      if (first_ != nullptr && map_.equal_(first_->key, key_)) match_ = &first_;
      for (const EntryPtr& entry : others_) {
        if (match_ == nullptr && map_.equal_(entry->key, key_)) match_ = &entry;
      }
    }

    [[nodiscard]] const Entry* entry() const noexcept { return match_ == nullptr ? nullptr : match_->get(); }
    [[nodiscard]] EntryPtr shared() const noexcept { return match_ == nullptr ? nullptr : *match_; }

    /// Puts `desired` (nullptr: nothing) in the place of the key's entry. False: the entries are not the same any more.
    bool replace(const EntryPtr& desired) {
      EntryPtr old;  // let go after the unlock (M3); match_ holds it too
      typename Table::node_type removed;
      const detail::MutexGuard guard(shard_.lock);
      auto [at, end] = shard_.table.equal_range(hash_);
      if (match_ != nullptr) {
        // The key's entry is the only one that counts: nobody adds a second one with an equal key.
        while (at != end && at->second != *match_) ++at;
        if (at == end) return false;
        if (desired == nullptr) {
          removed = shard_.table.extract(at);
        } else {
          old = std::exchange(at->second, desired);
        }
        return true;
      }
      // None of those that were compared is the key's: so there may be no other.
      for (; at != end; ++at) {
        if (!knows(at->second)) return false;
      }
      shard_.table.emplace(hash_, desired);
      return true;
    }

   private:
    void take() {
      std::vector<EntryPtr> spare;  // what a second look needs room for, reserved without the lock
      for (std::size_t wanted = 0;; spare.reserve(wanted)) {
        first_ = nullptr;  // not under the lock (M3)
        const detail::MutexGuard guard(shard_.lock);
        auto [at, end] = shard_.table.equal_range(hash_);
        if (at == end) return;
        first_ = at->second;
        wanted = 0;
        for (auto rest = std::next(at); rest != end; ++rest) ++wanted;
        if (wanted > spare.capacity()) continue;
        for (++at; at != end; ++at) spare.push_back(at->second);
        break;
      }
      others_.swap(spare);
    }
    [[nodiscard]] bool knows(const EntryPtr& entry) const noexcept {
      if (entry == first_) return true;
      for (const EntryPtr& other : others_) {
        if (entry == other) return true;
      }
      return false;
    }

    const SyncMap& map_;
    const K& key_;
    const std::size_t hash_;
    Shard& shard_;
    EntryPtr first_;
    std::vector<EntryPtr> others_;  // rarely any: their keys' hashes are the same number
    const EntryPtr* match_ = nullptr;
  };

  /// All shards at once: in their order, and whoever holds one alone waits for no other.
  class AllLocked {
   public:
    explicit AllLocked(const SyncMap& map) noexcept : map_(map) {
      for (Shard& shard : map_.shards_) shard.lock.lock();
    }
    ~AllLocked() {
      for (Shard& shard : map_.shards_) shard.lock.unlock();
    }
    AllLocked(const AllLocked&) = delete;
    AllLocked& operator=(const AllLocked&) = delete;

   private:
    const SyncMap& map_;
  };

  [[nodiscard]] Shard& shard_of(std::size_t hash) const noexcept {
    // Many hashes are the key itself: the high bits of the product depend on all of them.
    return shards_[(std::uint64_t{hash} * 0x9e3779b97f4a7c15ULL) >> 59U];
  }
  static EntryPtr make(K key, V value) { return std::make_shared<const Entry>(std::move(key), std::move(value)); }
  static std::optional<V> value_of(const Entry* entry) {
    return entry == nullptr ? std::optional<V>() : std::optional<V>(entry->value);
  }
  static std::optional<V> value_of(const EntryPtr& entry) { return value_of(entry.get()); }

  EntryPtr exchange(K key, V value) {
    const EntryPtr made = make(std::move(key), std::move(value));
    for (Found found(*this, made->key);; found.look_again()) {
      if (found.replace(made)) return found.shared();
    }
  }
  EntryPtr remove(const K& key) {
    for (Found found(*this, key);; found.look_again()) {
      if (found.entry() == nullptr || found.replace(nullptr)) return found.shared();
    }
  }

  Hash hash_;
  Equal equal_;
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace weft
