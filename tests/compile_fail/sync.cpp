// What Go says not to copy cannot be copied, and what is started must be callable.
// Rules: WG-8, GO-1, CO-6
#include <utility>

#include <weft/cond.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/once.hpp>
#include <weft/runtime.hpp>
#include <weft/rwmutex.hpp>
#include <weft/semaphore.hpp>
#include <weft/wait_group.hpp>

void by_value(weft::WaitGroup wg);

//! everything that is allowed: compiles
void allowed(weft::WaitGroup& wg, weft::Mutex& mutex) {
  weft::go([] {});
  weft::go([](int, const char*) {}, 1, "text");
  weft::go({.name = "named"}, [&wg] { wg.done(); });
  weft::go([](weft::Mutex* one) { one->lock(); }, &mutex);
  wg.go([] {});
  (void)weft::run([] { return 1; });
}

//! copy a Mutex: (use of deleted function|call to deleted constructor of) 'weft::Mutex
void copy_mutex(const weft::Mutex& mutex) { weft::Mutex other = mutex; }

//! move a Mutex: (use of deleted function|call to deleted constructor of) 'weft::Mutex
void move_mutex(weft::Mutex& mutex) { weft::Mutex other = std::move(mutex); }

//! assign a Mutex: deleted
void assign_mutex(weft::Mutex& mutex, const weft::Mutex& other) { mutex = other; }

//! copy an RWMutex: (use of deleted function|call to deleted constructor of) 'weft::RWMutex
void copy_rwmutex(const weft::RWMutex& mutex) { weft::RWMutex other = mutex; }

//! copy a Cond: (use of deleted function|call to deleted constructor of) 'weft::Cond
void copy_cond(const weft::Cond& cond) { weft::Cond other = cond; }

//! move a Cond: (use of deleted function|call to deleted constructor of) 'weft::Cond
void move_cond(weft::Cond& cond) { weft::Cond other = std::move(cond); }

//! copy a Once: (use of deleted function|call to deleted constructor of) 'weft::Once
void copy_once(const weft::Once& once) { weft::Once other = once; }

//! copy a Semaphore: (use of deleted function|call to deleted constructor of) 'weft::Semaphore
void copy_semaphore(const weft::Semaphore& semaphore) { weft::Semaphore other = semaphore; }

//! wait with what is no lock: no matching (member )?function for call to '(weft::Cond::)?wait
void wait_without_lock(weft::Cond& cond) {
  int number = 0;
  cond.wait(number);
}

//! once_func() of what takes an argument: no matching function for call to '(weft::)?once_func
void once_func_with_argument() {
  (void)weft::once_func([](int) {});
}

//! once_value() of what has no result: no matching function for call to '(weft::)?once_value
void once_value_of_void() {
  (void)weft::once_value([] {});
}

//! copy a WaitGroup: (use of deleted function|call to deleted constructor of) 'weft::WaitGroup
void copy_wait_group(const weft::WaitGroup& wg) { weft::WaitGroup other = wg; }

//! pass a WaitGroup by value: (use of deleted function|call to deleted constructor of) 'weft::WaitGroup
void pass(weft::WaitGroup& wg) { by_value(wg); }

//! capture a WaitGroup by value: (use of deleted function|call to deleted constructor of) 'weft::WaitGroup
void capture(weft::WaitGroup& wg) {
  weft::go([wg] {});
}

//! go() of a number: no matching function for call to 'go(.|\n)*is_invocable_v
void number() { weft::go(5); }

//! go() with an argument too few: no matching function for call to 'go(.|\n)*is_invocable_v
void too_few() {
  weft::go([](int) {});
}

//! go() with an argument of another type: no matching function for call to 'go(.|\n)*is_invocable_v
void other_type() {
  weft::go([](int) {}, nullptr);
}

//! go() that would copy a Mutex: deleted
void copied_argument(weft::Mutex& mutex) {
  weft::go([](const weft::Mutex&) {}, mutex);
}

//! WaitGroup's go of what takes an argument: no matching (member )?function for call to '(weft::WaitGroup::)?go
void wait_group(weft::WaitGroup& wg) {
  wg.go([](int) {});
}

//! run() of a number: no matching function for call to '(weft::)?run
void run_number() { (void)weft::run(5); }
