// What the scenarios on Boost.Fiber share.
#pragma once

#include <utility>
#include <vector>

#include <boost/fiber/fiber.hpp>

namespace compare {

namespace fibers = boost::fibers;

// Joins them when it goes.
class Fibers {
 public:
  Fibers() = default;
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;
  ~Fibers() {
    for (auto& f : fibers_) f.join();
  }
  template <class F>
  void start(F f) {
    fibers_.emplace_back(std::move(f));
  }

 private:
  std::vector<fibers::fiber> fibers_;
};

}  // namespace compare
