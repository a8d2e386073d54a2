#pragma once

// SingleFlight: of several calls for the same key at the same time only one does the work; all get its result.

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "weft/chan.hpp"
#include "weft/context.hpp"
#include "weft/detail/future_state.hpp"
#include "weft/go.hpp"
#include "weft/mutex.hpp"

namespace weft {
namespace detail {

/// Ends the process with a report of this exception, from a goroutine of its own, which nobody can catch it from.
void throw_uncaught(std::exception_ptr error);
/// The caller waited for a call that ended by exit_goroutine: so does the caller. On a plain thread: throws Panic.
[[noreturn]] void exit_with_leader();

}  // namespace detail

/// Calls are told apart by their key. The first caller, the leader, runs its function; whoever comes with the same key before
/// that has ended is a duplicate, waits for it, and gets a copy of the value or the leader's exception. Nothing is kept: the
/// next call runs its function again. V must be copyable (a std::shared_ptr for what is dear to copy); Hash and Equal must
/// not throw.
///
/// Safe from: any number of goroutines and threads. A function must not call for its own key: it would wait for itself.
/// It may be destroyed while calls of do_chan are in flight. Ordering: what the function did happens before the return of
/// every call that gets its result. Go: golang.org/x/sync/singleflight.
template <class K, class V, class Hash = std::hash<K>, class Equal = std::equal_to<K>>
class SingleFlight {
  static_assert(std::copy_constructible<V>, "weft::SingleFlight<K, V>: V must be copyable, for each caller gets one");

 public:
  struct Result {
    V value;
    bool shared;  ///< whether more than one caller got it
  };

  SingleFlight() : flights_(new Flights) {}
  SingleFlight(const SingleFlight&) = delete;
  SingleFlight& operator=(const SingleFlight&) = delete;
  ~SingleFlight() = default;

  /// Runs f and returns its value, or waits for a call with this key that is in flight and returns that one's value.
  /// Blocks: as long as f, or the call in flight, takes. Throws: what the leader's f threw, in the leader and in each
  /// duplicate; it ends the process as well if somebody waits for the same call by do_chan. If f ends by exit_goroutine,
  /// leader and duplicates end so too; a duplicate on a plain thread gets a Panic.
  template <class F>
    requires std::is_invocable_r_v<V, F&>
  Result do_call(K key, F&& f) {
    bool is_leader = false;
    const CallRef call = flights_->join(key, is_leader);
    if (is_leader) return flights_->lead(key, *call, f, false);
    static_cast<void>(call->wait({}));
    return call->result_for_duplicate();
  }
  /// The same, but a duplicate waits only until ctx is done: nothing then. The leader's f does not end with ctx, nor with
  /// the context of any duplicate. A context that is done already: nothing, and f does not run.
  template <class F>
    requires std::is_invocable_r_v<V, F&>
  std::optional<Result> do_call(const Context& ctx, K key, F&& f) {
    if (ctx.is_done()) return std::nullopt;
    bool is_leader = false;
    const CallRef call = flights_->join(key, is_leader);
    if (is_leader) return flights_->lead(key, *call, f, false);
    if (!call->wait({.done = ctx.done_core()})) return std::nullopt;
    return call->result_for_duplicate();
  }

  /// The same without waiting: f runs in a goroutine of its own. The channel, of capacity 1, gets exactly one result and is
  /// never closed; dropping it changes nothing. An exception that leaves the leader's f ends the process with a report; if
  /// it ends by exit_goroutine the channel gets nothing. Go: DoChan, whose result carries the error.
  template <class F>
    requires(detail::Spawnable<F> && std::is_invocable_r_v<V, std::decay_t<F>&>)
  RecvChan<Result> do_chan(K key, F&& f) {
    const auto results = make_chan<Result>(1);
    bool is_leader = false;
    CallRef call = flights_->join(key, is_leader, &results);
    if (!is_leader) return results;
    try {
      weft::go([flights = flights_, key, call, f = std::decay_t<F>(std::forward<F>(f))]() mutable {
        static_cast<void>(flights->lead(key, *call, f, true));
      });
    } catch (...) {
      call->error = std::current_exception();
      flights_->finish(key, *call);
      throw;
    }
    return results;
  }

  /// The next call with this key runs its function, even if one is in flight now: that one's duplicates still get its result.
  void forget(const K& key) { flights_->forget(key); }

 private:
  struct Call final : detail::FutureCore {
    // Guarded by the flights' mutex until the entry is gone, the leader's then; constant from complete() on.
    std::size_t duplicates = 0;
    std::vector<Chan<Result>> channels;
    std::optional<V> value;
    std::exception_ptr error;
    bool has_exited = false;

    Result result_for_duplicate() const {
      if (has_exited) detail::exit_with_leader();
      if (error) std::rethrow_exception(error);
      return {*value, true};
    }
  };
  using CallRef = detail::StateRef<Call>;

  /// Shared with the goroutines of do_chan. Hashing and comparing keys is code of the user's, so the lock is one that may be
  /// held while it runs.
  class Flights {
   public:
    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }  // relaxed: the caller has one
    void release() noexcept {
      // acq_rel [flights.refs]: what each holder did happens before the last one destroys.
      if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    CallRef join(const K& key, bool& is_leader, const Chan<Result>* channel = nullptr) {
      const Lock lock(mutex_);
      const auto entry = calls_.find(key);
      is_leader = entry == calls_.end();
      CallRef call = is_leader ? CallRef(new Call) : entry->second;
      if (channel != nullptr) call->channels.push_back(*channel);
      if (is_leader) {
        calls_.emplace(key, call);
      } else {
        ++call->duplicates;
      }
      return call;
    }

    template <class F>
    Result lead(const K& key, Call& call, F& f, bool is_uncaught) {
      try {
        call.value.emplace(f());
      } catch (const detail::GoroutineExit&) {
        call.has_exited = true;
      } catch (...) {
        call.error = std::current_exception();
      }
      const std::vector<Chan<Result>> channels = finish(key, call);
      if (call.has_exited) exit_goroutine();
      if (call.error) {
        // Whoever waits by do_chan has no way to hear of it.
        if (!channels.empty() && !is_uncaught) detail::throw_uncaught(call.error);
        std::rethrow_exception(call.error);
      }
      const bool is_shared = call.duplicates != 0;
      for (const Chan<Result>& channel : channels) channel.send({*call.value, is_shared});
      if (is_shared) return {*call.value, true};
      return {std::move(*call.value), false};
    }

    /// The entry goes first: who comes from now on starts anew (a forgotten call has none, perhaps another has it now). Then
    /// the duplicates are woken. Returns those who get the result by channel.
    std::vector<Chan<Result>> finish(const K& key, Call& call) {
      typename Map::node_type entry;
      std::vector<Chan<Result>> channels;
      {
        const Lock lock(mutex_);
        const auto found = calls_.find(key);
        if (found != calls_.end() && found->second.get() == &call) entry = calls_.extract(found);
        channels = std::move(call.channels);
      }
      call.complete();
      return channels;
    }

    void forget(const K& key) {
      typename Map::node_type entry;  // destroyed without the lock
      const Lock lock(mutex_);
      entry = calls_.extract(key);
    }

   private:
    using Map = std::unordered_map<K, CallRef, Hash, Equal>;
    class Lock {
     public:
      explicit Lock(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
      ~Lock() { mutex_.unlock(); }
      Lock(const Lock&) = delete;
      Lock& operator=(const Lock&) = delete;

     private:
      Mutex& mutex_;
    };

    Mutex mutex_;
    Map calls_;  // guarded by mutex_
    std::atomic<std::uint32_t> references_{1};
  };

  const detail::StateRef<Flights> flights_;
};

}  // namespace weft
