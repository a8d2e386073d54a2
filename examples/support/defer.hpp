// Go's `defer` for one statement: runs it when the enclosing scope is left, by return or by exception.

#pragma once

#include <utility>

namespace examples {

template <class F>
class Defer {
 public:
  explicit Defer(F statement) : statement_(std::move(statement)) {}
  ~Defer() { statement_(); }
  Defer(const Defer&) = delete;
  Defer& operator=(const Defer&) = delete;

 private:
  F statement_;
};

}  // namespace examples
